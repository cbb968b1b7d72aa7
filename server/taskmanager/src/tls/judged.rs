//! A connection that lasts for as long as who is at its other end counts.
//!
//! A handshake judges whoever it is once, and connections last for days. So each that is open is judged again whenever
//! the files are replaced by which that is done: whoever is thrown out is out, and not only at the next connection.
//! That is done as of the time of its handshake: certificates expire while connections last, and others are there by then.

use super::Fresh;
use super::words::words_of;
use rustls::Error;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tracing::warn;

/// Ready when the other end does not count any more, with the reason.
type Verdict = Pin<Box<dyn Future<Output = String> + Send>>;

/// A connection, with what ends it.
pub(super) struct Judged<S> {
    stream: S,
    /// The reason once there is one.
    verdict: Result<Verdict, String>,
}

impl<S> Judged<S> {
    /// Judges the holder of these certificates by what is made of files.
    pub(super) fn new<T: Send + Sync + 'static>(
        stream: S,
        who: String,
        shown: Vec<CertificateDer<'static>>,
        fresh: Fresh<T>,
        judge: impl Fn(&T, &[CertificateDer<'static>], UnixTime) -> Result<(), Error> + Send + 'static,
    ) -> Judged<S> {
        let shaken = UnixTime::now();
        let verdict = async move {
            let mut fresh = fresh;
            loop {
                fresh.replaced().await;
                if let Err(problem) = judge(&fresh.current(), &shown, shaken) {
                    let problem = words_of(&problem);
                    warn!(
                        who,
                        problem, "a connection was ended: the certificate does not count any more"
                    );
                    return problem;
                }
            }
        };
        let verdict = Ok(Box::pin(verdict) as Verdict);
        Judged { stream, verdict }
    }

    fn must_count(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Ok(verdict) = &mut self.verdict
            && let Poll::Ready(problem) = verdict.as_mut().poll(cx)
        {
            self.verdict = Err(problem);
        }
        match &self.verdict {
            Ok(_) => Ok(()),
            Err(problem) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                problem.clone(),
            )),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Judged<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut judged = f.debug_struct("Judged");
        judged.field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Judged<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.must_count(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncBufRead + Unpin> AsyncBufRead for Judged<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let judged = self.get_mut();
        judged.must_count(cx)?;
        Pin::new(&mut judged.stream).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.stream).consume(amount);
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Judged<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.must_count(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.must_count(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
