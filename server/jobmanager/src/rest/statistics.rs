//! Least, largest, mean and percentiles of numbers, in the two forms in which Flink shows them.

use serde_json::{Value, json};

/// Numbers, in ascending order.
pub(super) struct Sorted(Vec<u64>);

impl Sorted {
    pub(super) fn new(mut values: Vec<u64>) -> Sorted {
        values.sort_unstable();
        Sorted(values)
    }

    fn least(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }

    fn largest(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    fn sum(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, value| sum.saturating_add(*value))
    }

    fn average(&self) -> u64 {
        self.sum().checked_div(self.0.len() as u64).unwrap_or(0)
    }

    /// As with checkpoints. Percentiles of nothing are `NaN`.
    pub(super) fn of_checkpoints(&self) -> Value {
        let percentile =
            |p: f64| -> Value { self.percentile(p).map_or_else(|| "NaN".into(), Value::from) };
        json!({
            "min": self.least(),
            "max": self.largest(),
            "avg": self.average(),
            "p50": percentile(50.0),
            "p90": percentile(90.0),
            "p95": percentile(95.0),
            "p99": percentile(99.0),
            "p999": percentile(99.9),
        })
    }

    /// As with the subtasks of a vertex: whole numbers.
    pub(super) fn of_subtasks(&self) -> Value {
        let percentile = |p: f64| self.percentile(p).map_or(0, |value| value as u64);
        json!({
            "min": self.least(),
            "max": self.largest(),
            "avg": self.average(),
            "sum": self.sum(),
            "median": percentile(50.0),
            "p25": percentile(25.0),
            "p75": percentile(75.0),
            "p95": percentile(95.0),
        })
    }

    /// What [`Self::of_subtasks`] is of times that are not known, each of which is -1.
    pub(super) fn unknown() -> Value {
        json!({
            "min": -1, "max": -1, "avg": -1, "sum": -1,
            "median": -1, "p25": -1, "p75": -1, "p95": -1,
        })
    }

    /// The value below which `p` percent of the values lie, by linear interpolation at the position
    /// `p / 100 * (n + 1)`, counted from 1: the estimate that Flink shows.
    fn percentile(&self, p: f64) -> Option<f64> {
        let sorted = &self.0;
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let position = p / 100.0 * (sorted.len() as f64 + 1.0);
        if position < 1.0 {
            return Some(first as f64);
        }
        if position >= sorted.len() as f64 {
            return Some(last as f64);
        }
        let below = sorted[position as usize - 1] as f64;
        let above = sorted[position as usize] as f64;
        Some(below + position.fract() * (above - below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_that_flink_shows() {
        let sorted = Sorted::new(vec![19196, 6055, 8996, 10000, 12000, 14492, 15000, 17000]);
        assert_eq!(sorted.percentile(50.0), Some(13246.0));
        assert_eq!(sorted.percentile(90.0), Some(19196.0));
        assert_eq!(Sorted::new(Vec::new()).percentile(50.0), None);
        assert_eq!(Sorted::new(vec![3]).percentile(1.0), Some(3.0));
    }

    #[test]
    fn subtasks_have_whole_numbers_as_with_flink() {
        let expected = json!({
            "min": 14447, "max": 14577, "avg": 14512, "sum": 29024,
            "median": 14512, "p25": 14447, "p75": 14577, "p95": 14577,
        });
        assert_eq!(Sorted::new(vec![14577, 14447]).of_subtasks(), expected);
    }
}
