//! Which vertex takes which operator's state: the one with its id, stable over submissions.
//!
//! State that nobody takes would be lost without a word, for example after an operator was renamed. So it is
//! refused, unless the user says that it may be ignored (Flink's
//! `execution.state-recovery.ignore-unclaimed-state`).

use crate::graph::JobVertex;
use crate::id::VertexIndex;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// What becomes of state whose operator is not in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnclaimedState {
    /// The restore is refused.
    Refused,
    /// The state stays behind.
    Ignored,
}

/// Operators with state that are not in the graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnclaimedOperators(
    /// Their ids, in the order of the snapshot; at least one.
    pub Vec<u128>,
);

impl fmt::Display for UnclaimedOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no vertex has the id of")?;
        for operator in &self.0 {
            write!(f, " {operator:032x}")?;
        }
        f.write_str(
            ", which has state: give the vertex its old id, or let unclaimed state be ignored",
        )
    }
}

/// The vertex that takes the state of each operator, in the order of the operators; none if its state stays
/// behind. `operators` are the ids of those in the snapshot that have state: others have nothing to claim.
///
/// # Errors
///
/// If an operator is not in the graph and its state may not be ignored.
pub fn claims(
    operators: &[u128],
    vertices: &[JobVertex],
    unclaimed: UnclaimedState,
) -> Result<Vec<Option<VertexIndex>>, UnclaimedOperators> {
    let ids = vertices.iter().map(|vertex| vertex.operator_id);
    let by_id: BTreeMap<u128, VertexIndex> = ids.zip((0..).map(VertexIndex)).collect();
    let claims: Vec<_> = operators.iter().map(|id| by_id.get(id).copied()).collect();
    match unclaimed {
        UnclaimedState::Ignored => Ok(claims),
        UnclaimedState::Refused => {
            let is_unclaimed = |(id, claim): (&u128, &Option<_>)| claim.is_none().then_some(*id);
            let left: Vec<_> = operators
                .iter()
                .zip(&claims)
                .filter_map(is_unclaimed)
                .collect();
            if left.is_empty() {
                Ok(claims)
            } else {
                Err(UnclaimedOperators(left))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use std::string::ToString;
    use std::vec;

    fn vertex(operator_id: u128) -> JobVertex {
        JobVertex {
            id: String::new(),
            operator_id,
            name: String::new(),
            operator: String::new(),
            parallelism: 1,
            max_parallelism: 128,
            group: 0,
            config: String::new(),
        }
    }

    #[test]
    fn state_finds_its_operator_wherever_it_stands() {
        let vertices = [vertex(7), vertex(5), vertex(9)];
        let wanted = vec![Some(VertexIndex(2)), Some(VertexIndex(0))];
        for unclaimed in [UnclaimedState::Refused, UnclaimedState::Ignored] {
            let claims = claims(&[9, 7], &vertices, unclaimed);
            assert_eq!(claims, Ok(wanted.clone()));
        }
    }

    #[test]
    fn state_that_nobody_claims_is_left_behind_only_on_demand() {
        let vertices = [vertex(7)];
        let ignored = claims(&[1, 7, 2], &vertices, UnclaimedState::Ignored);
        assert_eq!(ignored, Ok(vec![None, Some(VertexIndex(0)), None]));
        let refused = claims(&[1, 7, 2], &vertices, UnclaimedState::Refused);
        assert_eq!(refused, Err(UnclaimedOperators(vec![1, 2])));
    }

    #[test]
    fn a_refusal_names_the_operators() {
        let text = UnclaimedOperators(vec![1, 0xab]).to_string();
        assert!(
            text.contains("00000000000000000000000000000001 000000000000000000000000000000ab,")
        );
    }
}
