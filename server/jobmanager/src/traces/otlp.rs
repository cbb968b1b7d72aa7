//! The part of OTLP's messages that a span needs, as opentelemetry-proto 1 specifies them
//! (`collector/trace/v1/trace_service.proto`, `trace/v1/trace.proto`), and spans as such messages.

use super::{Span as Seen, Value};
use jobmanager_core::time::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

/// What a collector is sent.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExportTraceServiceRequest {
    /// One for each process.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// What a collector answers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExportTraceServiceResponse {
    /// There if it has not taken everything, or has something to say.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// What a collector has not taken.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartialSuccess {
    /// How many spans.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The spans of a process.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResourceSpans {
    /// The process.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Its spans, by the part of the program that makes them.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// A process.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resource {
    /// What it is called.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<Attribute>,
}

/// The spans of a part of a program.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScopeSpans {
    /// The part.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Its spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// A part of a program.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Something that took a while.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// What it is.
    #[prost(string, tag = "5")]
    pub name: String,
    /// Between whom: 1 for what is within a process.
    #[prost(int32, tag = "6")]
    pub kind: i32,
    /// Since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// Since 1970.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What is said of it.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<Attribute>,
    /// What came of it.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

/// What came of a span.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Status {
    /// Why, if it is an error.
    #[prost(string, tag = "2")]
    pub message: String,
    /// 0 for nothing to say, 2 for an error.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// A name with a value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Attribute {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AnyValue {
    /// Of one of these types.
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3")]
    pub value: Option<any_value::Value>,
}

/// See [`AnyValue`].
pub mod any_value {
    /// A value of some type.
    #[derive(Clone, PartialEq, Eq, prost::Oneof)]
    pub enum Value {
        /// Words.
        #[prost(string, tag = "1")]
        String(String),
        /// Yes or no.
        #[prost(bool, tag = "2")]
        Bool(bool),
        /// A number.
        #[prost(int64, tag = "3")]
        Int(i64),
    }
}

/// The kind of what is within a process.
const INTERNAL: i32 = 1;
/// The status of what did not come to what it should have.
const ERROR: i32 = 2;

/// Spans of a process with this name and address.
pub(super) fn request(service: &str, address: &str, seen: &[Seen]) -> ExportTraceServiceRequest {
    let random = SystemRandom::new();
    let own = [
        ("service.name", service),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", address),
    ];
    let attributes = own.map(|(key, value)| attribute(key, &value.into()));
    let scope = Scope {
        name: "jobmanager".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let spans = seen.iter().map(|span| message(span, &random));
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource {
            attributes: attributes.into(),
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans: spans.collect(),
        }],
    }];
    ExportTraceServiceRequest { resource_spans }
}

/// Each span is a trace of its own, as with Flink: there is no request of which it would be a part.
fn message(seen: &Seen, random: &SystemRandom) -> Span {
    let attributes = seen.attributes.iter();
    let status = seen.failure.as_ref().map(|failure| Status {
        message: failure.clone(),
        code: ERROR,
    });
    Span {
        trace_id: id::<16>(random).to_vec(),
        span_id: id::<8>(random).to_vec(),
        name: seen.name.to_owned(),
        kind: INTERNAL,
        start_time_unix_nano: nanos(seen.start),
        end_time_unix_nano: nanos(seen.end.max(seen.start)),
        attributes: attributes
            .map(|(key, value)| attribute(key, value))
            .collect(),
        status,
    }
}

fn id<const N: usize>(random: &SystemRandom) -> [u8; N] {
    let mut id = [0; N];
    // Without randomness the system has told of worse before; an id of zeros is refused by the collector.
    let _ = random.fill(&mut id);
    id
}

fn nanos(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

fn attribute(key: &str, value: &Value) -> Attribute {
    let value = match value {
        Value::Text(text) => any_value::Value::String(text.clone()),
        Value::Number(number) => any_value::Value::Int(i64::try_from(*number).unwrap_or(i64::MAX)),
        Value::Flag(flag) => any_value::Value::Bool(*flag),
    };
    Attribute {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn a_span_has_the_bytes_that_collectors_read() {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "A".to_owned(),
            kind: 1,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![
                attribute("n", &Value::Number(3)),
                attribute("f", &Value::Flag(true)),
            ],
            status: Some(Status {
                message: "no".to_owned(),
                code: ERROR,
            }),
        };
        let hex: String = span
            .encode_to_vec()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let parts = [
            "0a10",
            "01010101010101010101010101010101", // trace_id
            "1208",
            "0202020202020202", // span_id
            "2a0141",
            "3001", // name, kind
            "390100000000000000",
            "410200000000000000", // start, end
            "4a07",
            "0a016e",
            "1202",
            "1803", // n = 3
            "4a07",
            "0a0166",
            "1202",
            "1001", // f = true
            "7a06",
            "12026e6f",
            "1802", // status
        ];
        assert_eq!(hex, parts.concat());
    }

    #[test]
    fn a_span_does_not_end_before_it_begins_and_has_an_id_of_its_own() {
        let seen = Seen {
            name: "A",
            start: Timestamp(7),
            end: Timestamp(6),
            failure: None,
            attributes: Vec::new(),
        };
        let sent = request("s", "a", &[seen.clone(), seen]);
        let [one, other] = &sent.resource_spans[0].scope_spans[0].spans[..] else {
            panic!("{sent:?}");
        };
        assert_eq!(one.start_time_unix_nano, 7_000_000);
        assert_eq!(one.end_time_unix_nano, 7_000_000);
        assert_ne!(one.trace_id, other.trace_id);
        assert_ne!(one.span_id, other.span_id);
    }
}
