//! The whole state of a coordinator, volatile parts included, to be copied: a recording starts from one.
//!
//! The coordinator is serializable; which bytes it becomes is not decided here. This is not durability:
//! only the very program that wrote a copy reads it. What outlives a program is in [`crate::record`].

use super::Coordinator;

impl Coordinator {
    /// The version of the serialized layout. To be raised with every change of a type in the state, and of
    /// what its digest is made of.
    pub const LAYOUT: u32 = 3;

    /// To be called right before the coordinator is serialized: from then on it and the copy do the same,
    /// input by input. Without it they would give TaskManagers that register later other keys.
    pub fn prepare_copy(&mut self) {
        self.tms.order_gaps();
    }
}
