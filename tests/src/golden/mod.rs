//! Compares the core's formulas with golden vectors: what Flink's own classes give, one vector a line.
//!
//! | kind | line | meaning |
//! |---|---|---|
//! | `murmur` | `murmur HASH RESULT` | the spread hash from which a key's group follows |
//! | `defmax` | `defmax PARALLELISM MAX` | the max parallelism of a vertex that names none |
//! | `kgr` | `kgr MAX PARALLELISM i:first-last …` | the key groups of subtask i, both ends included |
//! | `pointwise` | `pointwise SOURCES CONSUMERS i:first-last …` | the producers from which consumer i reads |
//! | `mapper` | `mapper KIND old=N new=M i:[a,b] …` | the old subtasks whose channel state new subtask i takes |
//! | `opstate` | `opstate old=N new=M oI.sK=PARTITIONS+MODE … => nJ=[hI.sK[a,b],…] …` | list state, see below |
//!
//! Blank lines and lines that begin with `#` are skipped. A line may leave out subtasks; what it lists is
//! compared. A line that is not of this form, or that no vertex can have (a parallelism of 0, a subtask beyond
//! it, more subtasks than key groups or than 32,768), is malformed: that is said, and the rest is compared.
//!
//! In `opstate`, old subtask I has PARTITIONS partitions of state K, in mode S (split), U (union) or B (broadcast);
//! `hI` is its handle, and partition p of state K is called 1000·K + p. How they are
//! compared is at the top of `operator_state.rs`.

mod formulas;
mod operator_state;
mod parse;

use parse::Vector;
use std::fmt;

/// A vector that differs: what it says, and what we compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the line says, as far as it differs.
    pub expected: String,
    /// What we compute instead.
    pub computed: String,
}

/// Why a line is no vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

/// What was found out about one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// We compute something else.
    Differs(Difference),
    /// It is no vector.
    Malformed(Malformed),
}

/// What was found out about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many vectors agree.
    pub agree: usize,
    /// The lines that do not, numbered from 1.
    pub findings: Vec<(usize, Finding)>,
}

impl Report {
    /// How many vectors differ.
    #[must_use]
    pub fn differing(&self) -> usize {
        let differs = |(_, finding): &&(usize, Finding)| matches!(finding, Finding::Differs(_));
        self.findings.iter().filter(differs).count()
    }

    /// How many lines are no vectors.
    #[must_use]
    pub fn malformed(&self) -> usize {
        self.findings.len() - self.differing()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, finding) in &self.findings {
            match finding {
                Finding::Differs(Difference { expected, computed }) => {
                    writeln!(f, "line {line} differs")?;
                    writeln!(f, "  expected {expected}")?;
                    writeln!(f, "  computed {computed}")?;
                }
                Finding::Malformed(Malformed(problem)) => {
                    writeln!(f, "line {line} is malformed: {problem}")?;
                }
            }
        }
        let (agree, differ, malformed) = (self.agree, self.differing(), self.malformed());
        write!(f, "{agree} agree, {differ} differ, {malformed} malformed")
    }
}

/// Compares every line of a file.
#[must_use]
pub fn check(text: &str) -> Report {
    let mut report = Report::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let compared = parse::vector(line).map(|vector| compare(&vector));
        let finding = match compared {
            Ok(Ok(())) => {
                report.agree += 1;
                continue;
            }
            Ok(Err(difference)) => Finding::Differs(difference),
            Err(malformed) => Finding::Malformed(malformed),
        };
        report.findings.push((number, finding));
    }
    report
}

fn compare(vector: &Vector) -> Result<(), Difference> {
    match vector {
        Vector::Murmur(vector) => formulas::murmur(vector),
        Vector::DefaultMaxParallelism(vector) => formulas::default_max_parallelism(vector),
        Vector::KeyGroups(vector) => formulas::key_groups(vector),
        Vector::Pointwise(vector) => formulas::pointwise(vector),
        Vector::Mapper(vector) => formulas::mapper(vector),
        Vector::OperatorState(vector) => operator_state::compare(vector),
    }
}

/// Whether both say the same.
fn same(expected: &str, computed: &str) -> Result<(), Difference> {
    if expected == computed {
        return Ok(());
    }
    Err(Difference {
        expected: expected.to_owned(),
        computed: computed.to_owned(),
    })
}
