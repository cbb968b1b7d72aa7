//! The exchange of records with other TaskManagers, as `exchange.proto` specifies it.
//!
//! [`Peers`] is the consumers' side: one stream to each TaskManager that has producers for us, opened
//! with the first subscription. [`Exchange`] is the producers' side: the service that others call. Neither
//! side ever waits for a task: a consumer grants no more frames than its pipe holds, so what arrives has
//! room, and a channel without credit is simply not read from.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::{Peers, Subscription};
pub(crate) use server::{Exchange, serve};

use crate::channel::{Barrier, Frame, Pipe};
use jobmanager_core::id::CheckpointId;
use jobmanager_proto::{parse_savepoint_barrier, savepoint_barrier, v1};
use std::time::Duration;

/// The frames that a producer may send before its consumer has taken one.
const CREDIT: u32 = Pipe::CAPACITY as u32;
/// The most bytes of one record.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
/// The largest message that a producer may send: the largest record, with what surrounds it.
const MAX_FRAME_MESSAGE: usize = MAX_RECORD_BYTES + (64 << 10);
/// The largest message that a consumer may send: a subscription, many times over.
const MAX_REQUEST_MESSAGE: usize = 4 << 10;
/// Notices a peer that is gone without having closed its connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// An answer to a keepalive that takes longer does not come any more.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What may be under way in one stream and in one connection: frames of many channels.
const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 8 << 20;

fn to_wire(channel: u32, frame: Frame) -> v1::ExchangeFrame {
    use v1::exchange_frame::Frame as Wire;
    let frame = match frame {
        Frame::Records(bytes) => Wire::Records(bytes),
        Frame::Watermark(time) => Wire::Watermark(time),
        Frame::Barrier(Barrier {
            checkpoint,
            savepoint: None,
        }) => Wire::Barrier(checkpoint.0),
        Frame::Barrier(Barrier {
            checkpoint,
            savepoint: Some(order),
        }) => Wire::Savepoint(savepoint_barrier(checkpoint, (*order).clone())),
        Frame::EndOfData => Wire::EndOfData(v1::EndOfData {}),
    };
    let frame = Some(frame);
    v1::ExchangeFrame { channel, frame }
}

fn refused(channel: u32, reason: impl Into<String>) -> v1::ExchangeFrame {
    let frame = Some(v1::exchange_frame::Frame::Refused(reason.into()));
    v1::ExchangeFrame { channel, frame }
}

/// Either a frame, or why the channel ends here.
fn from_wire(frame: v1::ExchangeFrame) -> Result<Frame, String> {
    use v1::exchange_frame::Frame as Wire;
    match frame.frame {
        Some(Wire::Records(bytes)) => Ok(Frame::Records(bytes)),
        Some(Wire::Watermark(time)) => Ok(Frame::Watermark(time)),
        Some(Wire::Barrier(checkpoint)) => Ok(Frame::Barrier(CheckpointId(checkpoint).into())),
        Some(Wire::Savepoint(barrier)) => savepoint(barrier),
        Some(Wire::EndOfData(v1::EndOfData {})) => Ok(Frame::EndOfData),
        Some(Wire::Refused(reason)) => Err(format!("refused: {reason}")),
        // To skip it could lose records.
        None => Err("sent a frame of a kind that is not known here".to_owned()),
    }
}

fn savepoint(barrier: v1::SavepointBarrier) -> Result<Frame, String> {
    let (checkpoint, order) = parse_savepoint_barrier(barrier)
        .map_err(|problem| format!("sent a barrier that is none: {problem}"))?;
    let savepoint = Some(order.into());
    Ok(Frame::Barrier(Barrier {
        checkpoint,
        savepoint,
    }))
}
