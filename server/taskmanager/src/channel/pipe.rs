//! A bounded queue of frames between one producer and one consumer.
//!
//! Invariants: at most [`Pipe::CAPACITY`] frames wait; the reader is told of a channel once whenever its
//! queue stops being empty, and of its end; a writer that found the queue full is told when there is room.

use super::barrier::Barrier;
use super::inbox::Inbox;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What flows in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Records, in the format of `exchange.proto`.
    Records(Bytes),
    /// No record with an event time up to this one follows.
    Watermark(i64),
    /// What came before belongs to a checkpoint.
    Barrier(Barrier),
    /// No record follows; barriers still do. Behind the barrier of a savepoint with which the job is suspended,
    /// a channel may end without it.
    EndOfData,
}

/// Who is told that a pipe has something to read.
pub(crate) trait Reader: Send + Sync {
    /// The pipe that was attached under this number has a frame, or has come to its end.
    fn ready(&self, channel: u32);
}

/// What a pipe had for its reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    Frame {
        frame: Frame,
        /// There is more: the reader is not told again, it has to come back.
        more: bool,
    },
    /// Nothing now. The reader will be told.
    Empty,
    /// Nothing ever again: the producer has ended.
    Closed,
    /// The connection behind the pipe is lost. Frames that had arrived before were returned first.
    Broken(Arc<str>),
}

/// A frame that could not be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// No room; the writer's inbox is told when there is.
    Full(Frame),
    /// The connection behind the pipe is lost.
    Broken(Arc<str>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    reader: Option<(Arc<dyn Reader>, u32)>,
    writer: Option<Arc<Inbox>>,
    writer_waits: bool,
    closed: bool,
    broken: Option<Arc<str>>,
}

impl Pipe {
    /// Frames that wait at most; over the network, also the credit of a channel. Enough to keep both
    /// ends busy over a round trip, small enough that a slow consumer is felt at once.
    pub(crate) const CAPACITY: usize = 8;

    /// Names the task that writes. Its inbox is told when there is room again.
    pub(crate) fn attach_writer(&self, writer: Arc<Inbox>) {
        self.lock().writer = Some(writer);
    }

    /// Names the reader and the number under which it knows this pipe.
    pub(crate) fn attach_reader(&self, reader: Arc<dyn Reader>, channel: u32) {
        let mut state = self.lock();
        let has_news = !state.frames.is_empty() || state.closed || state.broken.is_some();
        state.reader = Some((Arc::clone(&reader), channel));
        drop(state);
        if has_news {
            reader.ready(channel);
        }
    }

    /// Whether the producer has been here.
    pub(crate) fn has_writer(&self) -> bool {
        let state = self.lock();
        state.writer.is_some() || state.closed
    }

    /// Whether the producer has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Appends a frame if there is room.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), PushError> {
        let mut state = self.lock();
        if let Some(reason) = &state.broken {
            return Err(PushError::Broken(Arc::clone(reason)));
        }
        if state.frames.len() >= Pipe::CAPACITY {
            state.writer_waits = true;
            return Err(PushError::Full(frame));
        }
        state.frames.push_back(frame);
        if state.frames.len() == 1 {
            tell_reader(state);
        }
        Ok(())
    }

    /// Takes the first frame.
    pub(crate) fn pop(&self) -> Popped {
        let mut state = self.lock();
        let Some(frame) = state.frames.pop_front() else {
            return match &state.broken {
                Some(reason) => Popped::Broken(Arc::clone(reason)),
                None if state.closed => Popped::Closed,
                None => Popped::Empty,
            };
        };
        let more = !state.frames.is_empty() || state.closed || state.broken.is_some();
        if std::mem::take(&mut state.writer_waits) {
            tell_writer(state);
        }
        Popped::Frame { frame, more }
    }

    /// The producer has ended by itself: what it wrote stays.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        let was_empty = state.frames.is_empty();
        state.closed = true;
        state.writer = None;
        if was_empty {
            tell_reader(state);
        }
    }

    /// The producer has failed or was canceled: what it wrote is worth nothing.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        let was_empty = state.frames.is_empty();
        state.frames.clear();
        state.closed = true;
        state.writer = None;
        if was_empty {
            tell_reader(state);
        }
    }

    /// The connection behind the pipe is lost; both ends learn it.
    pub(crate) fn break_off(&self, reason: Arc<str>) {
        let mut state = self.lock();
        if state.broken.is_some() {
            return;
        }
        state.broken = Some(reason);
        let was_empty = state.frames.is_empty();
        let reader = state.reader.clone().filter(|_| was_empty);
        tell_writer(state);
        if let Some((reader, channel)) = reader {
            reader.ready(channel);
        }
    }

    /// No code of users runs under the lock, and every change under it is whole: a poisoned one is fine.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the lock first: the reader has a lock of its own.
fn tell_reader(state: MutexGuard<'_, State>) {
    let reader = state.reader.clone();
    drop(state);
    if let Some((reader, channel)) = reader {
        reader.ready(channel);
    }
}

fn tell_writer(state: MutexGuard<'_, State>) {
    let writer = state.writer.clone();
    drop(state);
    if let Some(writer) = writer {
        writer.writable();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Pipe")
            .field("frames", &state.frames.len())
            .field("closed", &state.closed)
            .field("broken", &state.broken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::inbox::Next;
    use super::*;
    use std::time::Instant;

    fn attached() -> (Pipe, Arc<Inbox>) {
        let (pipe, inbox) = (Pipe::default(), Arc::new(Inbox::default()));
        pipe.attach_reader(inbox.clone(), 7);
        (pipe, inbox)
    }

    fn told(inbox: &Inbox) -> bool {
        inbox.next(Some(Instant::now())).unwrap() == Next::Channel(7)
    }

    #[test]
    fn a_reader_is_told_once_when_the_queue_stops_being_empty() {
        let (pipe, inbox) = attached();
        pipe.push(Frame::Watermark(1)).unwrap();
        pipe.push(Frame::Watermark(2)).unwrap();
        assert!(told(&inbox) && !told(&inbox));
        let popped = |time, more| Popped::Frame {
            frame: Frame::Watermark(time),
            more,
        };
        assert_eq!(pipe.pop(), popped(1, true));
        assert_eq!(pipe.pop(), popped(2, false));
        assert_eq!(pipe.pop(), Popped::Empty);
        pipe.push(Frame::Watermark(3)).unwrap();
        assert!(told(&inbox));
    }

    #[test]
    fn a_reader_that_comes_late_is_told_of_what_is_there() {
        let pipe = Pipe::default();
        pipe.push(Frame::EndOfData).unwrap();
        let inbox = Arc::new(Inbox::default());
        pipe.attach_reader(inbox.clone(), 7);
        assert!(told(&inbox));
    }

    #[test]
    fn a_full_pipe_gives_the_frame_back_and_tells_the_writer_of_room() {
        let (pipe, _reader) = attached();
        let writer = Arc::new(Inbox::default());
        pipe.attach_writer(writer.clone());
        for time in 0..8 {
            pipe.push(Frame::Watermark(time)).unwrap();
        }
        let full = pipe.push(Frame::EndOfData);
        assert_eq!(full, Err(PushError::Full(Frame::EndOfData)));
        pipe.pop();
        assert_eq!(writer.wait_writable(), Ok(()));
        assert_eq!(pipe.push(Frame::EndOfData), Ok(()));
    }

    #[test]
    fn a_broken_pipe_returns_what_had_arrived_and_then_the_reason() {
        let (pipe, inbox) = attached();
        pipe.push(Frame::EndOfData).unwrap();
        pipe.break_off("the peer is gone".into());
        assert!(told(&inbox));
        assert!(matches!(pipe.pop(), Popped::Frame { more: true, .. }));
        assert_eq!(pipe.pop(), Popped::Broken("the peer is gone".into()));
        let refused = pipe.push(Frame::EndOfData);
        assert_eq!(refused, Err(PushError::Broken("the peer is gone".into())));
    }

    #[test]
    fn what_a_finished_producer_wrote_stays_and_what_a_failed_one_wrote_does_not() {
        let (finished, _inbox) = attached();
        finished.push(Frame::EndOfData).unwrap();
        finished.finish();
        assert!(matches!(finished.pop(), Popped::Frame { more: true, .. }));
        assert_eq!(finished.pop(), Popped::Closed);

        let (failed, _inbox) = attached();
        failed.push(Frame::EndOfData).unwrap();
        failed.abandon();
        assert_eq!(failed.pop(), Popped::Closed);
    }
}
