//! Frames as bytes, and back.

use super::input::{
    cancel, checkpoint, connected, discarded, input_to_wire, message, rescale, savepoint,
    savepoint_written, stored, submit, worker, workers,
};
use super::{End, Entry, Frame, Header, MAGIC, VERSION};
use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::recording_end::End as WireEnd;
use crate::v1::recording_frame::Frame as Wire;
use jobmanager_core::config::{ClusterConfig, WorkersConfig};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::time::Timestamp;
use prost::Message;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// How many bytes come before a frame's body: its length, and two checksums.
pub(super) const FRAME_HEAD: usize = 12;

/// Begins a file.
pub fn start(file: &mut Vec<u8>) {
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
}

/// Appends a frame to a file.
///
/// # Panics
/// If the frame has 4 GiB or more.
pub fn append(file: &mut Vec<u8>, frame: &Frame) {
    append_wire(file, frame.at, frame.effects, entry_to_wire(&frame.entry));
}

/// Appends the frame of an input, as [`append`] does.
pub fn append_input(file: &mut Vec<u8>, at: Timestamp, effects: u64, input: &Input) {
    append_wire(file, at, effects, input_to_wire(input));
}

fn append_wire(file: &mut Vec<u8>, at: Timestamp, effects: u64, frame: Wire) {
    let frame = v1::RecordingFrame {
        at_ms: at.0,
        effects,
        frame: Some(frame),
    };
    let head = file.len();
    let body = head + FRAME_HEAD;
    file.resize(body, 0);
    frame
        .encode(file)
        .expect("a vector grows as much as a message needs");
    let length = u32::try_from(file.len() - body).expect("a frame has less than 4 GiB");
    let length = length.to_le_bytes();
    let sum = checksum(&file[body..]);
    file[head..head + 4].copy_from_slice(&length);
    file[head + 4..head + 8].copy_from_slice(&checksum(&length));
    file[head + 8..body].copy_from_slice(&sum);
}

/// The lower half of XXH3-64.
pub(super) fn checksum(bytes: &[u8]) -> [u8; 4] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

fn entry_to_wire(entry: &Entry) -> Wire {
    match entry {
        Entry::Header(header) => Wire::Header(v1::RecordingHeader {
            program: header.program.clone(),
            epoch: header.epoch.0,
            config: Some((&header.config).into()),
        }),
        Entry::Recovered(records) => Wire::Recovered(v1::RecoveredBase {
            records: records.iter().map(Into::into).collect(),
        }),
        Entry::Snapshot(bytes) => Wire::Snapshot(bytes.clone()),
        Entry::Input(input) => input_to_wire(input),
        Entry::Check(digest) => Wire::Check(*digest),
        Entry::End(end) => Wire::End(v1::RecordingEnd {
            end: Some(match end {
                End::Asked(digest) => WireEnd::Asked(*digest),
                End::Panicked(words) => WireEnd::Panicked(words.clone()),
            }),
        }),
    }
}

/// The frame that a body is.
///
/// # Errors
/// It is none that this version could have written.
pub(super) fn parse(body: &[u8]) -> Result<Frame, BadMessage> {
    let wire = v1::RecordingFrame::decode(body)
        .map_err(|error| Problem::NotProtobuf(error).at("frame"))?;
    Ok(Frame {
        at: Timestamp(wire.at_ms),
        effects: wire.effects,
        entry: check::required(wire.frame, "frame")?.try_into()?,
    })
}

impl TryFrom<Wire> for Entry {
    type Error = BadMessage;

    fn try_from(wire: Wire) -> Result<Self, BadMessage> {
        Ok(match wire {
            Wire::Header(wire) => Entry::Header(wire.try_into()?),
            Wire::Recovered(wire) => {
                let records = wire.records.into_iter().map(TryInto::try_into);
                Entry::Recovered(records.collect::<Result<_, _>>()?)
            }
            Wire::Snapshot(bytes) => Entry::Snapshot(bytes),
            Wire::Check(digest) => Entry::Check(digest),
            Wire::End(wire) => Entry::End(match check::required(wire.end, "end")? {
                WireEnd::Asked(digest) => End::Asked(digest),
                WireEnd::Panicked(words) => End::Panicked(words),
            }),
            Wire::Connected(wire) => Entry::Input(connected(wire)?),
            Wire::Message(wire) => Entry::Input(message(wire)?),
            Wire::Disconnected(session) => Entry::Input(Input::Disconnected {
                session: jobmanager_core::id::SessionId(session),
            }),
            Wire::Stored(wire) => Entry::Input(stored(wire)?),
            Wire::Discarded(wire) => Entry::Input(discarded(wire)?),
            Wire::Submit(wire) => Entry::Input(submit(wire)?),
            Wire::Cancel(wire) => Entry::Input(cancel(wire)?),
            Wire::Rescale(wire) => Entry::Input(rescale(wire)?),
            Wire::Checkpoint(wire) => Entry::Input(checkpoint(wire)?),
            Wire::Savepoint(wire) => Entry::Input(savepoint(wire)?),
            Wire::SavepointWritten(wire) => Entry::Input(savepoint_written(wire)?),
            Wire::Workers(wire) => Entry::Input(workers(wire)?),
            Wire::Worker(wire) => Entry::Input(worker(wire)?),
            Wire::Wake(_) => Entry::Input(Input::Wake),
        })
    }
}

impl TryFrom<v1::RecordingHeader> for Header {
    type Error = BadMessage;

    fn try_from(wire: v1::RecordingHeader) -> Result<Self, BadMessage> {
        Ok(Header {
            program: check::prose(wire.program),
            epoch: check::epoch(wire.epoch, "header.epoch")?,
            config: check::required(wire.config, "header.config")?.try_into()?,
        })
    }
}

impl From<&ClusterConfig> for v1::RecordedConfig {
    fn from(config: &ClusterConfig) -> Self {
        let duration = |duration: Duration| {
            Some(v1::RecordedDuration {
                seconds: duration.as_secs(),
                nanos: duration.subsec_nanos(),
            })
        };
        v1::RecordedConfig {
            heartbeat_interval: duration(config.heartbeat_interval),
            heartbeat_timeout: duration(config.heartbeat_timeout),
            reconciliation_timeout: duration(config.reconciliation_timeout),
            grace_period: duration(config.grace_period),
            cancellation_timeout: duration(config.cancellation_timeout),
            registration_initial: duration(config.registration_initial),
            registration_max: duration(config.registration_max),
            registration_refused: duration(config.registration_refused),
            checkpoint_storage: config.checkpoint_storage.clone(),
            exception_history: config.exception_history,
            checkpoint_history: config.checkpoint_history,
            job_store_capacity: config.job_store_capacity,
            max_slots_per_job: config.max_slots_per_job,
            workers: config.workers.map(|workers| v1::RecordedWorkers {
                slots: workers.slots,
                max_slots: workers.max_slots,
                idle_timeout: duration(workers.idle_timeout),
                registration_timeout: duration(workers.registration_timeout),
                max_failures: workers.max_failures,
                retry_interval: duration(workers.retry_interval),
            }),
        }
    }
}

impl TryFrom<v1::RecordedConfig> for ClusterConfig {
    type Error = BadMessage;

    fn try_from(wire: v1::RecordedConfig) -> Result<Self, BadMessage> {
        Ok(ClusterConfig {
            heartbeat_interval: duration(
                wire.heartbeat_interval,
                "header.config.heartbeat_interval",
            )?,
            heartbeat_timeout: duration(wire.heartbeat_timeout, "header.config.heartbeat_timeout")?,
            reconciliation_timeout: duration(
                wire.reconciliation_timeout,
                "header.config.reconciliation_timeout",
            )?,
            grace_period: duration(wire.grace_period, "header.config.grace_period")?,
            cancellation_timeout: duration(
                wire.cancellation_timeout,
                "header.config.cancellation_timeout",
            )?,
            registration_initial: duration(
                wire.registration_initial,
                "header.config.registration_initial",
            )?,
            registration_max: duration(wire.registration_max, "header.config.registration_max")?,
            registration_refused: duration(
                wire.registration_refused,
                "header.config.registration_refused",
            )?,
            checkpoint_storage: wire.checkpoint_storage,
            exception_history: wire.exception_history,
            checkpoint_history: wire.checkpoint_history,
            job_store_capacity: wire.job_store_capacity,
            max_slots_per_job: match wire.max_slots_per_job {
                0 => u32::MAX,
                most => most,
            },
            workers: wire.workers.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::RecordedWorkers> for WorkersConfig {
    type Error = BadMessage;

    fn try_from(wire: v1::RecordedWorkers) -> Result<Self, BadMessage> {
        let at_least_one = |value, field| check::in_range_u32(value, 1..=u32::MAX, field);
        Ok(WorkersConfig {
            slots: at_least_one(wire.slots, "header.config.workers.slots")?,
            max_slots: wire.max_slots,
            idle_timeout: duration(wire.idle_timeout, "header.config.workers.idle_timeout")?,
            registration_timeout: duration(
                wire.registration_timeout,
                "header.config.workers.registration_timeout",
            )?,
            max_failures: at_least_one(wire.max_failures, "header.config.workers.max_failures")?,
            retry_interval: duration(wire.retry_interval, "header.config.workers.retry_interval")?,
        })
    }
}

fn duration(
    wire: Option<v1::RecordedDuration>,
    field: &'static str,
) -> Result<Duration, BadMessage> {
    let wire = check::required(wire, field)?;
    let nanos = check::in_range_u32(wire.nanos, 0..=999_999_999, field)?;
    Ok(Duration::new(wire.seconds, nanos))
}
