//! The whole state of a coordinator as bytes, in the layout of this program: postcard of the layout's
//! version, the state's digest, and the state.

use jobmanager_core::jobmanager::Coordinator;
use postcard::ser_flavors::Flavor;

/// The largest snapshot that is read. Bytes; far more than a recorder keeps.
pub const MAX_SNAPSHOT: usize = 1 << 30;

/// Why bytes are no snapshot of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// They were written by a program with another layout of its state.
    #[error(
        "the snapshot has layout {0}, this program has layout {own}: use the program that wrote it",
        own = Coordinator::LAYOUT
    )]
    OtherLayout(u32),
    /// There are too many of them.
    #[error("a snapshot of {0} bytes is larger than any that is written")]
    TooLarge(usize),
    /// They are not the bytes of a state.
    #[error("the snapshot is none that this program could have written")]
    NotAState,
    /// They are a state, but not the one that was written.
    #[error("the snapshot is of another state or another program: its digest does not fit")]
    OtherDigest,
}

/// Everything that a coordinator knows; nothing if that takes more than `limit` bytes. The coordinator
/// and one that is [restored](restore) do the same from then on.
#[must_use]
pub fn snapshot(coordinator: &mut Coordinator, limit: usize) -> Option<Vec<u8>> {
    coordinator.prepare_copy();
    let state = (Coordinator::LAYOUT, coordinator.digest(), &*coordinator);
    let bytes = Vec::new();
    // It fails for want of room alone: every list of the state knows its length.
    postcard::serialize_with_flavor(&state, Bounded { bytes, limit }).ok()
}

/// The coordinator of which [`snapshot`] was taken.
///
/// # Errors
/// The bytes are no snapshot, or one of another program.
pub fn restore(bytes: &[u8]) -> Result<Coordinator, RestoreError> {
    if bytes.len() > MAX_SNAPSHOT {
        return Err(RestoreError::TooLarge(bytes.len()));
    }
    let not_a_state = |_| RestoreError::NotAState;
    let (layout, rest) = postcard::take_from_bytes::<u32>(bytes).map_err(not_a_state)?;
    if layout != Coordinator::LAYOUT {
        return Err(RestoreError::OtherLayout(layout));
    }
    let read = postcard::take_from_bytes::<(u64, Coordinator)>(rest);
    let ((digest, coordinator), rest) = read.map_err(not_a_state)?;
    if !rest.is_empty() {
        return Err(RestoreError::NotAState);
    }
    if coordinator.digest() != digest {
        return Err(RestoreError::OtherDigest);
    }
    Ok(coordinator)
}

/// Bytes that do not grow beyond a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Flavor for Bounded {
    type Output = Vec<u8>;

    fn try_extend(&mut self, more: &[u8]) -> postcard::Result<()> {
        if self.bytes.len() + more.len() > self.limit {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use jobmanager_core::config::cluster_config;
    use jobmanager_core::id::{Epoch, Incarnation, SessionId, TaskManagerId};
    use jobmanager_core::jobmanager::Input;
    use jobmanager_core::message::{Hardware, Hello};
    use jobmanager_core::time::Timestamp;

    fn step(coordinator: &mut Coordinator, input: Input) {
        coordinator.step(Timestamp(1), input, &mut Vec::new());
    }

    fn connect(coordinator: &mut Coordinator, number: u64) {
        let hello = Hello {
            taskmanager: TaskManagerId(format!("tm-{number}")),
            incarnation: Incarnation(1),
            seen_epoch: Epoch(0),
            hellos: 1,
            slots: 1,
            data_address: "there:1".into(),
            hardware: Hardware::default(),
            operators: Vec::new(),
            inventory: Vec::new(),
            jobs: Vec::new(),
            leaves_within: None,
        };
        let session = SessionId(number);
        step(coordinator, Input::Connected { session, hello });
    }

    fn coordinator(taskmanagers: u64) -> Coordinator {
        let config = cluster_config(&Default::default(), &[]).unwrap();
        let recovered = Coordinator::recover(config, Epoch(1), Vec::new(), Timestamp(0));
        let mut coordinator = recovered.unwrap();
        (0..taskmanagers).for_each(|number| connect(&mut coordinator, number));
        coordinator
    }

    #[test]
    fn a_restored_coordinator_gives_later_taskmanagers_the_same_places() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut original = coordinator(6);
            for number in order {
                let session = SessionId(number);
                step(&mut original, Input::Disconnected { session });
            }
            let before = original.digest();
            let mut copy = restore(&snapshot(&mut original, MAX_SNAPSHOT).unwrap()).unwrap();
            assert_eq!([original.digest(), copy.digest()], [before; 2]);
            for number in 10..18 {
                connect(&mut original, number);
                connect(&mut copy, number);
                assert_eq!(copy.digest(), original.digest(), "{order:?}, {number}");
            }
        }
    }

    #[test]
    fn a_snapshot_is_given_up_at_its_limit_and_nothing_happened() {
        let mut coordinator = coordinator(3);
        let digest = coordinator.digest();
        let whole = snapshot(&mut coordinator, MAX_SNAPSHOT).unwrap();
        assert_eq!(snapshot(&mut coordinator, whole.len() - 1), None);
        assert_eq!(snapshot(&mut coordinator, whole.len()), Some(whole));
        assert_eq!(coordinator.digest(), digest);
    }

    #[test]
    fn what_is_no_snapshot_of_this_program_is_refused() {
        let whole = snapshot(&mut coordinator(2), MAX_SNAPSHOT).unwrap();
        let refusal = |bytes: &[u8]| restore(bytes).unwrap_err();
        assert_eq!(refusal(&[]), RestoreError::NotAState);
        assert_eq!(refusal(&whole[..whole.len() - 1]), RestoreError::NotAState);
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(refusal(&longer), RestoreError::NotAState);
        let mut layout = whole.clone();
        layout[0] += 1;
        let other = Coordinator::LAYOUT + 1;
        assert_eq!(refusal(&layout), RestoreError::OtherLayout(other));
        let mut digest = whole;
        digest[2] ^= 1;
        assert_eq!(refusal(&digest), RestoreError::OtherDigest);
    }
}
