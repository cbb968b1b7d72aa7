//! Whether a server keeps the conditions of a write, tried before anything depends on it.
//!
//! There are servers that ignore what they do not know, and a condition is a header. With one of them, two leaders
//! would write over each other and both be told that all is well.

use super::place::{Expected, Prefix, PutFailure};
use futures::future::join_all;
use object_store::UpdateVersion;

/// How many writers want to write at once.
const RIVALS: usize = 4;

/// What the probe has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeFailure {
    /// There is no answer: the words for people.
    Away(String),
    /// The server does not do what it is asked to: the words for people, as the end of a sentence about it.
    Unfit(String),
}

/// Tries everything that the store relies on with an object of this name, which nobody else uses.
///
/// # Errors
/// It cannot be relied on, or was not answered.
pub(super) async fn probe(prefix: &Prefix, name: &str) -> Result<(), ProbeFailure> {
    let found = try_conditions(prefix, name).await;
    let deleted = prefix.delete(name).await;
    found?;
    deleted.map_err(ProbeFailure::Away)
}

async fn try_conditions(prefix: &Prefix, name: &str) -> Result<(), ProbeFailure> {
    let put = |expected, bytes: &str| prefix.put(name, expected, bytes.as_bytes().to_vec());
    let first = put(Expected::Absent, "first").await.map_err(not_made)?;
    if first
        == (UpdateVersion {
            e_tag: None,
            version: None,
        })
    {
        return Err(unfit(
            "does not tell versions of an object apart: it gives no ETag",
        ));
    }
    let again = put(Expected::Absent, "created twice").await;
    is_refused(again, "creates an object that is there already")?;
    let first = Expected::Version(first);
    let second = put(first.clone(), "second").await.map_err(not_made)?;
    let late = put(first, "overwritten").await;
    is_refused(late, "overwrites an object that has changed")?;
    one_of_several_writes(prefix, name, Expected::Version(second)).await
}

/// A condition that is compared before the write begins, and not again, lets two through.
async fn one_of_several_writes(
    prefix: &Prefix,
    name: &str,
    expected: Expected,
) -> Result<(), ProbeFailure> {
    let texts: Vec<String> = (0..RIVALS).map(|rival| format!("rival {rival}")).collect();
    let writes = texts.iter().map(|text| {
        let expected = expected.clone();
        prefix.put(name, expected, text.as_bytes().to_vec())
    });
    let written = join_all(writes).await;
    let mut winners = Vec::new();
    for (text, written) in texts.iter().zip(written) {
        match written {
            Ok(_) => winners.push(text),
            Err(PutFailure::Refused) => {}
            Err(failure) => return Err(not_made(failure)),
        }
    }
    let found = prefix.get(name).await.map_err(ProbeFailure::Away)?;
    let found = found.map(|(bytes, _)| bytes);
    match winners[..] {
        // All may be refused because of each other.
        [] => Ok(()),
        [winner] if found.as_deref() == Some(winner.as_bytes()) => Ok(()),
        [_] => Err(unfit("does not give back what was written last")),
        _ => Err(unfit(
            "lets several writers overwrite the same version of an object",
        )),
    }
}

fn is_refused(written: Result<UpdateVersion, PutFailure>, what: &str) -> Result<(), ProbeFailure> {
    match written {
        Err(PutFailure::Refused) => Ok(()),
        Ok(_) => Err(unfit(&format!("{what}, although it was asked not to"))),
        Err(failure) => Err(not_made(failure)),
    }
}

fn not_made(failure: PutFailure) -> ProbeFailure {
    match failure {
        PutFailure::Refused => unfit("refuses to write an object that is as expected"),
        PutFailure::Unsupported(words) => unfit(&format!("has no conditional writes ({words})")),
        PutFailure::NotDone(words) | PutFailure::Unknown(words) => ProbeFailure::Away(words),
    }
}

fn unfit(what: &str) -> ProbeFailure {
    ProbeFailure::Unfit(format!(
        "cannot hold the metadata, because it {what}: conditional writes (If-None-Match, If-Match) have to \
         be kept; choose another server with jobmanager.store (--store)"
    ))
}
