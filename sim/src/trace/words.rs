//! Values in words: shortens what `Debug` writes of inputs, orders and messages to what a reader of a
//! transcript looks for. It knows the shape of the text, and a few names.

/// Elements of a list that are told.
const TOLD: usize = 3;
/// Values within values, at most: more is not worth the words.
const DEPTH: usize = 24;
/// Characters of a line.
const LINE: usize = 180;
/// What is too long for a line or says nothing in one.
const LEFT_OUT: [&str; 12] = [
    "graph",
    "table",
    "state",
    "states",
    "size",
    "timestamp",
    "rows",
    "hardware",
    "operators",
    "data_address",
    "slots",
    "records",
];

/// What the `Debug` of something says, in words.
pub(crate) fn in_words(debug: &str) -> String {
    let mut reader = Reader { rest: debug };
    let mut words = reader.value(0).words();
    if let Some((end, _)) = words.char_indices().nth(LINE) {
        words.truncate(end);
        words.push('…');
    }
    words
}

/// The name that the `Debug` of something begins with, or of what is sent or stored.
pub(crate) fn kind(debug: &str) -> &str {
    let end = debug.find(|c: char| !c.is_alphanumeric());
    &debug[..end.unwrap_or(debug.len())]
}

/// A value, as its `Debug` shows it.
enum Said {
    Word(String),
    /// A name and what is in its brackets.
    Named(String, Vec<(Option<String>, Said)>),
    List(Vec<Said>),
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n']);
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Said {
        self.skip();
        if depth > DEPTH {
            self.rest = "";
            return Said::Word("…".to_owned());
        }
        if self.takes('"') {
            return Said::Word(self.quoted());
        }
        if self.takes('[') {
            let elements = self.elements(']', depth);
            return Said::List(elements.into_iter().map(|(_, value)| value).collect());
        }
        let end = self
            .rest
            .find([',', '(', ')', '{', '}', '[', ']', ':', ' ', '\n']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let word = word.to_owned();
        self.rest = rest;
        if self.takes('(') {
            return Said::Named(word, self.elements(')', depth));
        }
        if self.takes('{') {
            return Said::Named(word, self.elements('}', depth));
        }
        Said::Word(word)
    }

    fn quoted(&mut self) -> String {
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let text = text.to_owned();
        self.rest = rest.strip_prefix('"').unwrap_or(rest);
        text
    }

    /// What is in brackets, up to and with the closing one.
    fn elements(&mut self, closing: char, depth: usize) -> Vec<(Option<String>, Said)> {
        let mut elements = Vec::new();
        while !self.takes(closing) && !self.rest.is_empty() {
            let before = self.rest.len();
            let value = self.value(depth + 1);
            if self.takes(':') {
                let name = value.words();
                elements.push((Some(name), self.value(depth + 1)));
            } else {
                elements.push((None, value));
            }
            self.takes(',');
            if self.rest.len() == before {
                // It is no `Debug` of ours: what is left is told as it is.
                let rest = std::mem::take(&mut self.rest);
                elements.push((None, Said::Word(rest.to_owned())));
            }
        }
        elements
    }
}

impl Said {
    fn words(&self) -> String {
        match self {
            Said::Word(word) => word.clone(),
            Said::List(elements) => {
                let told = elements.iter().take(TOLD).map(Said::words);
                let mut told: Vec<_> = told.collect();
                if elements.len() > TOLD {
                    told.push(format!("{} more", elements.len() - TOLD));
                }
                told.join("; ")
            }
            Said::Named(name, inner) => named(name, inner),
        }
    }
}

fn named(name: &str, inner: &[(Option<String>, Said)]) -> String {
    let field = |wanted: &str| {
        let found = inner
            .iter()
            .find(|(name, _)| name.as_deref() == Some(wanted));
        found.map(|(_, value)| value.words()).unwrap_or_default()
    };
    let first = || {
        inner
            .first()
            .map(|(_, value)| value.words())
            .unwrap_or_default()
    };
    match name {
        "AttemptId" => format!("{} {} {}", field("job"), field("task"), field("attempt")),
        "TaskId" => format!("task {}.{}", field("vertex"), field("subtask")),
        "Attempt" => format!("attempt {}.{}", number(&field("epoch")), field("number")),
        "Envelope" => format!("{} ({})", field("message"), field("epoch")),
        "JobId" => format!("job {}", first().trim_start_matches('0')),
        "JobGraph" => field("id"),
        // What it is about is among the options.
        "Welcome" => "welcome".to_owned(),
        "" | "Some" | "TaskManagerId" | "VertexIndex" | "SubtaskIndex" | "Message" | "Command" => {
            fields(inner)
        }
        _ => {
            let words = spaced(name.strip_suffix("Id").unwrap_or(name));
            let inner = fields(inner);
            format!("{words} {inner}").trim().to_owned()
        }
    }
}

fn fields(inner: &[(Option<String>, Said)]) -> String {
    let told = inner.iter().filter_map(|(name, value)| match name {
        Some(name) if LEFT_OUT.contains(&name.as_str()) => None,
        Some(_) if matches!(value, Said::List(elements) if elements.is_empty()) => None,
        Some(name) => {
            let value = value.words();
            // `session: SessionId(1)` says the same thing twice.
            let again = value.starts_with(name.as_str()) || TELLING.contains(&name.as_str());
            Some(if again {
                value
            } else {
                format!("{name} {value}")
            })
        }
        None => Some(value.words()),
    });
    let told: Vec<_> = told.filter(|words| !words.is_empty()).collect();
    told.join(", ")
}

/// Fields whose values speak for themselves.
const TELLING: [&str; 10] = [
    "message", "attempt", "event", "reply", "hello", "command", "ops", "outcome", "discard",
    "report",
];

/// `epoch 3` as 3.
fn number(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or(text)
}

/// `TriggerCheckpoint` as `trigger checkpoint`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::{CheckpointId, Epoch, JobId, SessionId};
    use jobmanager_core::jobmanager::Effect;
    use jobmanager_core::message::{Envelope, ToTaskManager};
    use jobmanager_core::time::Timestamp;

    #[test]
    fn an_order_is_told_in_a_short_line() {
        let order = Effect::Send {
            session: SessionId(4),
            message: Envelope {
                epoch: Epoch(2),
                message: ToTaskManager::TriggerCheckpoint {
                    job: JobId(0xf00d),
                    tasks: Vec::new(),
                    checkpoint: CheckpointId(17),
                    timestamp: Timestamp(5),
                    savepoint: None,
                },
            },
        };
        let expected =
            "send session 4, trigger checkpoint job f00d, checkpoint 17, savepoint None (epoch 2)";
        assert_eq!(in_words(&format!("{order:?}")), expected);
        assert_eq!(kind(&format!("{order:?}")), "Send");
    }

    #[test]
    fn a_text_of_another_shape_is_told_as_far_as_it_goes() {
        assert_eq!(in_words("plain"), "plain");
        assert_eq!(in_words("\"a \\\" quote\""), "a \\\" quote");
        assert_eq!(
            in_words("A { b: [1, 2, 3, 4, 5], c"),
            "a b 1; 2; 3; 2 more, c"
        );
        assert_eq!(in_words("A(}"), "a }");
        assert!(in_words(&"(".repeat(10_000)).len() < 500);
    }
}
