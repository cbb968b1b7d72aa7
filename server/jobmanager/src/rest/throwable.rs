//! A failure as Flink's clients read it. They take its words out of a serialized Java object, and wait for ever
//! if there is none: an `org.apache.flink.util.SerializedThrowable` in the format of Java's
//! `ObjectOutputStream`, without a cause and without a stack trace.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const NULL: u8 = b'p';
const END_OF_DATA: u8 = b'x';
const LONG_STRING: u8 = b'|';
const ARRAY: u8 = b'u';
const CLASS_DESCRIPTION: u8 = b'r';
const SERIALIZABLE: u8 = 2;
/// Serializable, with data that the class writes itself.
const SERIALIZABLE_BY_ITSELF: u8 = 3;

/// `failure-cause` in an answer: what went wrong, as an exception of this class.
pub(super) fn failure_cause(class: &str, words: &str) -> Value {
    json!({
        "class": class,
        "stack-trace": format!("{class}: {words}"),
        "serialized-throwable": STANDARD.encode(serialized(class, words)),
    })
}

/// An operation that goes on after the answer to its request: what came of it, once that is known.
pub(super) fn operation<E: AsRef<str>>(class: &str, outcome: Option<Result<Value, E>>) -> Value {
    let operation = match outcome {
        None => return json!({ "status": { "id": "IN_PROGRESS" }, "operation": null }),
        Some(Ok(result)) => result,
        Some(Err(words)) => json!({ "failure-cause": failure_cause(class, words.as_ref()) }),
    };
    json!({ "status": { "id": "COMPLETED" }, "operation": operation })
}

fn serialized(original: &str, words: &str) -> Vec<u8> {
    let mut bytes = vec![0xac, 0xed, 0, 5, b's'];
    describe(&mut bytes);
    // The fields of Throwable: cause, detailMessage, stackTrace, suppressedExceptions.
    bytes.push(NULL);
    string(&mut bytes, words);
    bytes.push(ARRAY);
    let array = "[Ljava.lang.StackTraceElement;";
    class(&mut bytes, array, 0x0246_2a3c_3cfd_2239, SERIALIZABLE, &[]);
    bytes.extend([END_OF_DATA, NULL]);
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend([NULL, END_OF_DATA]);
    // Those of SerializedThrowable: serializedException is last.
    string(&mut bytes, &format!("{original}: {words}"));
    string(&mut bytes, original);
    bytes.push(NULL);
    bytes
}

/// The class and those above it, the lowest first.
fn describe(bytes: &mut Vec<u8>) {
    let text = "Ljava/lang/String;";
    let fields = [
        (b'L', "fullStringifiedStackTrace", text),
        (b'L', "originalErrorClassName", text),
        (b'[', "serializedException", "[B"),
    ];
    let name = "org.apache.flink.util.SerializedThrowable";
    class(bytes, name, 0x6516_9df5_1fa7_13f3, SERIALIZABLE, &fields);
    bytes.push(END_OF_DATA);
    let name = "java.lang.Exception";
    class(bytes, name, 0xd0fd_1f3e_1a3b_1cc4, SERIALIZABLE, &[]);
    bytes.push(END_OF_DATA);
    let fields = [
        (b'L', "cause", "Ljava/lang/Throwable;"),
        (b'L', "detailMessage", text),
        (b'[', "stackTrace", "[Ljava/lang/StackTraceElement;"),
        (b'L', "suppressedExceptions", "Ljava/util/List;"),
    ];
    let name = "java.lang.Throwable";
    let by_itself = SERIALIZABLE_BY_ITSELF;
    class(bytes, name, 0xd5c6_3527_3977_b8cb, by_itself, &fields);
    bytes.extend([END_OF_DATA, NULL]);
}

/// A class up to the end of its fields: its name, version, flags, and fields by kind, name and type.
fn class(bytes: &mut Vec<u8>, name: &str, version: u64, flags: u8, fields: &[(u8, &str, &str)]) {
    bytes.push(CLASS_DESCRIPTION);
    short_name(bytes, name);
    bytes.extend(version.to_be_bytes());
    bytes.push(flags);
    let count = u16::try_from(fields.len()).expect("a handful");
    bytes.extend(count.to_be_bytes());
    for (kind, name, class) in fields {
        bytes.push(*kind);
        short_name(bytes, name);
        string(bytes, class);
    }
}

/// A name of this file.
fn short_name(bytes: &mut Vec<u8>, name: &str) {
    let length = u16::try_from(name.len()).expect("names are short");
    bytes.extend(length.to_be_bytes());
    bytes.extend(name.as_bytes());
}

/// A string of any length, in Java's own UTF-8: of 16-bit units, and without zero bytes.
fn string(bytes: &mut Vec<u8>, text: &str) {
    let mut encoded = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let last = 0x80 | (low & 0x3f);
        match unit {
            1..0x80 => encoded.push(low),
            0 | 0x80..0x800 => encoded.extend([0xc0 | (high << 2) | (low >> 6), last]),
            0x800.. => {
                let middle = 0x80 | ((high & 0x0f) << 2) | (low >> 6);
                encoded.extend([0xe0 | (high >> 4), middle, last]);
            }
        }
    }
    bytes.push(LONG_STRING);
    bytes.extend((encoded.len() as u64).to_be_bytes());
    bytes.extend(encoded);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_encoded_as_java_does() {
        let encoded = |text: &str| {
            let mut bytes = Vec::new();
            string(&mut bytes, text);
            bytes.split_off(9)
        };
        assert_eq!(encoded("a\0ä"), b"a\xc0\x80\xc3\xa4");
        assert_eq!(encoded("日"), "日".as_bytes());
        assert_eq!(encoded("𝄞"), b"\xed\xa0\xb4\xed\xb4\x9e");
    }

    #[test]
    fn a_failure_has_its_words_in_every_form() {
        let cause = failure_cause("some.Exception", "the disk is full");
        let bytes = STANDARD.decode(cause["serialized-throwable"].as_str().unwrap_or_default());
        let bytes = bytes.unwrap_or_default();
        assert!(bytes.starts_with(&[0xac, 0xed, 0, 5]));
        let has = |text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
        assert!(has("the disk is full") && has("some.Exception"));
        assert_eq!(cause["stack-trace"], "some.Exception: the disk is full");
    }
}
