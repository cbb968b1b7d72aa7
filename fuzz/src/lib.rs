//! What must hold of any bytes. Each function here is the body of the fuzz target of its name: it panics
//! when its promise is broken. The tests run the same functions over the committed corpora.
//!
//! | target | what the bytes are | what is promised |
//! |---|---|---|
//! | [`tape`] | the decisions of a simulated run | no decisions make a run break an invariant |
//! | [`wire`] | a message, in either direction and on the exchange | refused, or read back as it was |
//! | [`record`] | a record, a key or a frame | refused, or read back as it was |
//! | [`job_graph`] | a JobGraph as JSON | refused with its problems, or run by a coordinator |

mod job_graph;
mod record;
mod tape;
mod wire;

pub use job_graph::job_graph;
pub use record::record;
pub use tape::tape;
pub use wire::wire;

/// One of the targets.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus' folder.
pub const TARGETS: [(&str, Target); 4] = [
    ("tape", tape),
    ("wire", wire),
    ("record", record),
    ("job_graph", job_graph),
];
