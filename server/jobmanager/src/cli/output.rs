//! What the commands print. Standard output may be closed or full, as with `| head -1`, and that is an
//! answer to be heard, not a reason to panic.

use super::client::ClientError;
use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
///
/// # Errors
/// Standard output takes no more.
pub(crate) fn print(line: impl Display) -> Result<(), ClientError> {
    print_to(&mut io::stdout().lock(), &format!("{line}\n"))
}

/// Prints text that has its line ends.
///
/// # Errors
/// Standard output takes no more.
pub(crate) fn print_text(text: &str) -> Result<(), ClientError> {
    print_to(&mut io::stdout().lock(), text)
}

/// Writes a line to standard error. If nobody takes it, nobody can be told about that either.
pub(crate) fn complain(line: impl Display) {
    let _ = print_to(&mut io::stderr().lock(), &format!("{line}\n"));
}

/// In one piece, so that lines of several threads do not mix.
fn print_to(out: &mut impl Write, text: &str) -> Result<(), ClientError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(ClientError::Output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::{CLOSED, JOB_FAILED};

    /// An output that fails in one way.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_told_from_a_full_one() {
        for (kind, code, closed) in [
            (io::ErrorKind::BrokenPipe, CLOSED, true),
            (io::ErrorKind::StorageFull, JOB_FAILED, false),
        ] {
            let error = print_to(&mut Broken(kind), "text").unwrap_err();
            assert_eq!(error.exit_code(), code);
            assert_eq!(error.is_closed_output(), closed);
        }
    }
}
