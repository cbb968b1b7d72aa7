//! The stream as clients get it, over real connections, of events that the test makes up.

#![allow(clippy::unwrap_used)]

use super::*;
use axum::Router;
use axum::routing::get;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const EPOCH: Epoch = Epoch(3);
const FEW: Bounds = Bounds {
    events: 4,
    bytes: 1 << 20,
};
const QUICK: Pace = Pace {
    keep_alive: Duration::from_secs(60),
    patience: Duration::from_millis(20),
};

/// Events on a port of their own.
struct Served {
    address: SocketAddr,
    events: Events,
    writer: Writer,
}

impl Served {
    async fn start(bounds: Bounds, pace: Pace) -> Served {
        let (writer, ring) = ring(bounds);
        let events = Events::from_ring(EPOCH, ring, Lease::endless(), pace);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = events.clone();
        let handler = async move |headers: HeaderMap| {
            let asked = headers.get(LAST_EVENT_ID);
            let asked = asked.map(|id| id.to_str().unwrap());
            served.stream(asked, BTreeSet::new())
        };
        let router = Router::new().route("/", get(handler));
        tokio::spawn(axum::serve(listener, router).into_future());
        Served {
            address,
            events,
            writer,
        }
    }

    fn tell(&self, number: u64) {
        self.writer.add(Kind::Leader, None, &json!(number));
        self.writer.announce();
    }

    async fn connect(&self, after: &str) -> Client {
        let connection = TcpStream::connect(self.address).await.unwrap();
        Client::of(connection, after).await
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn of(mut connection: TcpStream, after: &str) -> Client {
        let header = match after {
            "" => String::new(),
            id => format!("last-event-id: {id}\r\n"),
        };
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        Client(BufReader::new(connection))
    }

    /// The next line that begins so; nothing if the answer ends before.
    async fn line(&mut self, start: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await.unwrap();
            // The last chunk of an answer is an empty one.
            if read == 0 || line == "0\r\n" {
                return None;
            }
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    async fn data(&mut self) -> String {
        self.line("data: ").await.unwrap()
    }
}

#[tokio::test]
async fn a_client_reads_on_from_where_it_was_and_learns_what_it_cannot_have() {
    let served = Served::start(FEW, Pace::USUAL).await;
    served.tell(1);
    let mut live = served.connect("").await;
    assert_eq!(live.line("id: ").await.unwrap(), "3-1");
    served.tell(2);
    served.tell(3);
    assert_eq!(live.line("id: ").await.unwrap(), "3-2");
    assert_eq!(live.data().await, "2");
    assert_eq!(live.data().await, "3");
    let mut resumed = served.connect("3-1").await;
    assert_eq!(resumed.line("event: ").await.unwrap(), "leader");
    assert_eq!(resumed.data().await, "2");

    for number in 4..=7 {
        served.tell(number);
    }
    // Of an earlier leader, too far back, not there yet: all that is kept follows.
    for (asked, reason) in [
        ("2-6", "another JobManager"),
        ("4-6", "another JobManager"),
        ("3-2", "not kept"),
        ("3-8", "not kept"),
    ] {
        let mut client = served.connect(asked).await;
        assert_eq!(client.line("id: ").await.unwrap(), "3-3", "{asked}");
        assert_eq!(client.line("event: ").await.unwrap(), "reset", "{asked}");
        let data = client.data().await;
        assert!(data.contains(reason) && data.contains(asked), "{data}");
        assert_eq!(client.line("id: ").await.unwrap(), "3-4", "{asked}");
        assert_eq!(client.data().await, "4", "{asked}");
    }
    let mut wrong = served.connect("seven").await;
    let status = wrong.line("HTTP/1.1 ").await.unwrap();
    assert_eq!(status, "400 Bad Request");
}

#[tokio::test]
async fn a_stream_ends_with_the_leader() {
    let served = Served::start(FEW, Pace::USUAL).await;
    let mut client = served.connect("").await;
    assert_eq!(client.line("id: ").await.unwrap(), "3-0");
    drop(served.writer);
    assert_eq!(client.line("id: ").await, None);
}

#[tokio::test]
async fn a_stream_ends_with_the_lease_whatever_there_is_to_tell() {
    let (end, told) = tokio::sync::watch::channel(Instant::now() + Duration::from_secs(3_600));
    let (writer, ring) = ring(FEW);
    let events = Events::from_ring(EPOCH, ring, Lease::until(told), Pace::USUAL);
    let permit = events.clients.clone().try_acquire_owned().unwrap();
    let frames = pump::start(events, Start::Now(0), BTreeSet::new(), permit);
    let mut frames = std::pin::pin!(frames);
    assert!(futures::StreamExt::next(&mut frames).await.is_some());
    end.send_replace(Instant::now());
    writer.add(Kind::Leader, None, &json!(1));
    writer.announce();
    assert!(futures::StreamExt::next(&mut frames).await.is_none());
}

#[tokio::test]
async fn in_silence_a_client_is_told_where_it_is() {
    let pace = Pace {
        keep_alive: Duration::from_millis(1),
        ..Pace::USUAL
    };
    let served = Served::start(FEW, pace).await;
    served.tell(1);
    let mut client = served.connect("3-1").await;
    for _ in 0..3 {
        assert_eq!(client.line("id: ").await.unwrap(), "3-1");
        assert_eq!(client.line(": ").await.unwrap(), "nothing new");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_the_others_hear_everything() {
    let served = Served::start(FEW, QUICK).await;
    let mut deaf = served.connect("").await;
    let mut live = served.connect("").await;
    for client in [&mut deaf, &mut live] {
        assert_eq!(client.line("id: ").await.unwrap(), "3-0");
    }
    let words = "x".repeat(64 << 10);
    let one_left = || served.events.clients.available_permits() == MAX_CLIENTS - 1;
    let mut told = 0;
    while !one_left() {
        told += 1;
        assert!(told < 10_000, "it is never cut off");
        let data = json!({ "number": told, "words": words });
        served.writer.add(Kind::Leader, None, &data);
        served.writer.announce();
        let heard = live.data().await;
        assert!(heard.starts_with(&format!("{{\"number\":{told},")));
    }
    // It finds what there was for it, and then the end.
    let mut rest = Vec::new();
    deaf.0.read_to_end(&mut rest).await.unwrap_or_default();
    let heard = String::from_utf8_lossy(&rest)
        .matches("\"number\":")
        .count();
    assert!(heard < told, "{heard} of {told}");
}

#[tokio::test]
async fn one_client_too_many_is_told_what_to_do_and_has_a_place_when_another_one_goes() {
    let served = Served::start(FEW, Pace::USUAL).await;
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = served.connect("").await;
        client.line("id: ").await.unwrap();
        clients.push(client);
    }
    let mut refused = served.connect("").await;
    let status = refused.line("HTTP/1.1 ").await.unwrap();
    assert_eq!(status, "503 Service Unavailable");
    let words = refused.line("{").await.unwrap();
    assert!(words.contains("end one of them"), "{words}");
    clients.pop();
    let freed = served.events.clients.acquire().await.unwrap();
    drop(freed);
    let mut client = served.connect("").await;
    assert_eq!(client.line("id: ").await.unwrap(), "3-0");
}
