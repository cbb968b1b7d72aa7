//! What a command makes of what answers it.

#![allow(clippy::unwrap_used)]
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

fn client_of(addresses: &str) -> Client {
    Client::new(addresses, Access::default()).unwrap()
}

/// A client of something that answers one request with these bytes.
fn answered_with(answer: impl Into<String>) -> Client {
    answered_with_each(vec![answer.into()])
}

/// A client of something that answers as many requests, each with such bytes.
fn answered_with_each(answers: Vec<String>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    client_of(&address)
}

#[test]
fn a_refused_connection_says_what_to_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = client_of(&address).jobs().unwrap_err();
    assert_eq!(error.exit_code(), UNREACHABLE);
    let words = error.to_string();
    assert!(words.contains(&address), "{words}");
    assert!(words.contains("`jobmanager serve`"), "{words}");
}

#[test]
fn every_problem_of_a_refused_job_is_shown() {
    let client = answered_with(
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 27\r\n\r\n{\"errors\":[\"a: x\",\"b: y\"]} ",
    );
    let error = client.submit(b"{}".to_vec()).unwrap_err();
    assert_eq!(error.exit_code(), REFUSED);
    assert_eq!(error.to_string(), "the JobManager refuses:\n  a: x\n  b: y");
}

#[test]
fn an_answer_that_comes_before_the_whole_job_was_sent_is_shown() {
    let client = answered_with(
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 24\r\nconnection: close\r\n\r\n\
         {\"errors\":[\"too large\"]}",
    );
    let error = client.submit(vec![b' '; MAX_BYTES]).unwrap_err();
    assert_eq!(error.to_string(), "the JobManager refuses: too large");
    assert_eq!(error.exit_code(), REFUSED);
}

#[test]
fn who_answers_late_is_told_from_who_is_not_there() {
    for (timeout, wanted) in [
        (Timeout::Connect, "no JobManager answers"),
        (Timeout::Global, "did not answer (not within 60 s)"),
        (Timeout::SendBody, "did not answer (not within 60 s)"),
    ] {
        let words = explain("http://localhost:1", Error::Timeout(timeout)).to_string();
        assert!(words.contains(wanted), "{words}");
    }
    let broken = Error::Io(ErrorKind::BrokenPipe.into());
    let words = explain("http://localhost:1", broken).to_string();
    assert!(
        words.contains("did not answer (io: broken pipe)"),
        "{words}"
    );
}

/// A standby that sends everybody there, or knows of nobody.
fn one_that_stands_by(leader: Option<&str>) -> String {
    let answer = match leader {
        Some(leader) => format!("307 x\r\nlocation: {leader}/jobs/overview"),
        None => "503 x".to_owned(),
    };
    let answer = format!(
        "HTTP/1.1 {answer}\r\njobmanager-role: standby\r\ncontent-length: 19\r\n\r\n{{\"errors\":[\"wait\"]}}"
    );
    answered_with(answer).address().to_owned()
}

#[test]
fn whoever_leads_is_found_through_those_who_stand_by() {
    let [nobody] = [TcpListener::bind("127.0.0.1:0").unwrap()].map(|l| l.local_addr().unwrap());
    let leader = answered_with("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"jobs\":[]}");
    let addresses = [
        nobody.to_string(),
        one_that_stands_by(None),
        one_that_stands_by(Some(leader.address())),
    ];
    let client = client_of(&addresses.join(","));
    assert_eq!(client.jobs().unwrap().len(), 0);
    assert_eq!(client.address(), addresses[2]);
}

#[test]
fn a_cluster_without_a_leader_is_told_from_a_refusal() {
    let client = client_of(&one_that_stands_by(None));
    let error = client.jobs().unwrap_err();
    assert_eq!(error.exit_code(), UNREACHABLE);
    assert!(error.may_pass());
    assert!(error.to_string().contains("(wait)"), "{error}");
}

#[test]
fn a_stranger_on_the_port_is_named_as_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        "SSH-2.0-OpenSSH_9.2p1\r\n\r\n\r\n",
    ] {
        let error = answered_with(answer).jobs().unwrap_err();
        let words = error.to_string();
        assert!(words.contains("is not a JobManager"), "{words}");
    }
}

/// A refusal of somebody who asks too often, who is to wait for so long.
fn too_fast(retry_after: &str) -> String {
    format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: {retry_after}\r\nconnection: close\r\ncontent-length: 23\r\n\r\n\
         {{\"errors\":[\"too fast\"]}} "
    )
}

#[test]
fn a_job_that_comes_too_fast_is_submitted_again_when_that_is_said_to_be_right() {
    let body = r#"{"jobUrl":"/jobs/00000000000000000000000000000007","jobid":"00000000000000000000000000000007"}"#;
    let taken = format!(
        "HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    let client = answered_with_each(vec![too_fast("1"), too_fast("soon"), taken]);
    assert_eq!(client.submit(b"{}".to_vec()).unwrap(), JobId(7));
    assert!(begun.elapsed() >= 2 * AGAIN, "{:?}", begun.elapsed());
}

#[test]
fn nobody_waits_for_longer_than_a_minute_to_submit_a_job() {
    let client = answered_with(too_fast("61"));
    let error = client.submit(b"{}".to_vec()).unwrap_err();
    assert_eq!(error.exit_code(), REFUSED);
    assert_eq!(error.to_string(), "the JobManager refuses: too fast");
}
