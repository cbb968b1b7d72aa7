//! What everything that talks to an object store has in common: where its options come from, how long it may take, and
//! its errors in words.

use object_store::Error;
use std::time::Duration;

/// How environment variables begin that configure an object store. Without the prefix, the stores would
/// take any `TOKEN` or `ENDPOINT` for theirs.
const PREFIXES: [&str; 3] = ["aws_", "azure_", "google_"];
/// How fast a connection to it is at least. Bytes per second.
const SLOWEST: u64 = 1 << 20;

/// What the environment says about object storage, by the names of the variables in lower case.
pub fn options() -> impl Iterator<Item = (String, String)> {
    std::env::vars()
        .map(|(key, value)| (key.to_lowercase(), value))
        .filter(|(key, _)| PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}

/// How long a request may take that sends or gets so many bytes, and may take `patience` besides.
#[must_use]
pub fn limit(patience: Duration, bytes: u64) -> Duration {
    patience + Duration::from_secs(bytes / SLOWEST)
}

/// What an error says, in a line; of an answer in XML only its message.
#[must_use]
pub fn words(error: &Error) -> String {
    let words = crate::words(error);
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let Some((before, answer)) = words.split_once("<?xml") else {
        return words;
    };
    let message = answer.split_once("<Message>").map(|(_, message)| message);
    let message = message.and_then(|message| message.split_once("</Message>"));
    message.map_or_else(
        || words.clone(),
        |(message, _)| format!("{before}{message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_in_xml_only_the_message_is_told() {
        let words = |answer: &str| {
            let (store, source) = ("S3", format!("404: {answer}").into());
            words(&Error::Generic { store, source })
        };
        let answer = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>The bucket does\n \
             not exist</Message></Error>";
        let before = "Generic S3 error: 404:";
        assert_eq!(words(answer), format!("{before} The bucket does not exist"));
        assert_eq!(words("not\nfound"), format!("{before} not found"));
        assert!(words("<?xml ?><Error/>").ends_with("<Error/>"));
    }
}
