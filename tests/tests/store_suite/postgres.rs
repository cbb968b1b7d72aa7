//! What the PostgreSQL store has to survive beyond the contract: connections that break between a write and
//! its answer, writes that arrive when they are not expected any more, servers that crash, and databases that
//! are not what they should be.

use crate::contract::{REIGNS, commit, conforms, load};
use crate::records::{checkpoint, generation, mark, put};
use jobmanager::election::ClusterId;
use jobmanager::postgres::Database;
use jobmanager::store::{PostgresStore, Store, StoreError};
use jobmanager_core::id::{JobId, TriggerId};
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::message::AfterSavepoint;
use jobmanager_core::record::{JobRecord, JobResult, Record, SavepointOutcome, SavepointRecord};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use jobmanager_tests::services::postgres::Postgres;
use jobmanager_tests::services::proxy::{Fault, Proxy};
use std::sync::Arc;

async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    open_cluster(url, "/default").await
}

async fn open_cluster(url: &str, cluster: &str) -> Result<PostgresStore, StoreError> {
    let database = Database::parse(url).unwrap();
    PostgresStore::open(database, ClusterId::new(cluster).unwrap()).await
}

/// Why it cannot be opened.
async fn refusal(url: &str) -> String {
    let error = open(url).await.unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
    error
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn the_postgres_store_conforms_and_keeps_it_all_when_opened_again() {
    let server = Postgres::start();
    let store = open(&server.url("")).await.unwrap();
    conforms(&store, REIGNS).await;
    let before = load(&store).await;
    store.close().await;
    assert_eq!(store.load().await.unwrap_err(), StoreError::Closed);

    server.crash_and_restart();
    let after = load(&open(&server.url("")).await.unwrap()).await;
    assert!(after.epoch > before.epoch);
    assert!(after.records == before.records);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clusters_in_one_database_know_nothing_of_each_other() {
    let server = Postgres::start();
    let one = open_cluster(&server.url(""), "/one").await.unwrap();
    let other = open_cluster(&server.url(""), "/other").await.unwrap();
    let (first, second) = (load(&one).await, load(&other).await);
    commit(&one, first.epoch, vec![put(mark(1, 1))]).await;
    commit(&other, second.epoch, vec![put(mark(1, 2))]).await;
    assert_eq!(load(&one).await.records, [mark(1, 1)]);
    assert_eq!(load(&other).await.records, [mark(1, 2)]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_write_whose_answer_is_lost_is_unknown_whether_or_not_it_was_made_and_can_be_repeated() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let store = open(&server.url_through(proxy.port(), "")).await.unwrap();
    let leader = load(&store).await;
    for (number, fault, made) in [(1, Fault::Answer, true), (2, Fault::Request, false)] {
        let ops = vec![put(mark(1, number))];
        proxy.next(fault);
        let outcome = store.commit(leader.epoch, ops.clone()).await;
        assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
        proxy.done().await;
        let kind = format!("facts->>'next' = '{number}'");
        let query = format!("SELECT count(*) FROM jobmanager.records WHERE {kind}");
        assert_eq!(server.sql(&query), u8::from(made).to_string(), "{fault:?}");
        commit(&store, leader.epoch, ops).await;
        assert_eq!(server.sql(&query), "1");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_write_that_was_given_up_is_not_made_after_later_ones() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let store = open(&server.url_through(proxy.port(), "")).await.unwrap();
    let leader = load(&store).await;
    proxy.next(Fault::Late);
    let outcome = store.commit(leader.epoch, vec![put(mark(1, 1))]).await;
    assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
    commit(&store, leader.epoch, vec![put(mark(1, 1))]).await;
    commit(&store, leader.epoch, vec![put(mark(1, 2))]).await;
    proxy.release();
    proxy.done().await;
    assert_eq!(load(&store).await.records, [mark(1, 2)]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_write_to_a_server_that_is_away_is_certainly_not_made_and_works_when_it_is_back() {
    let server = Postgres::start();
    let store = open(&server.url("")).await.unwrap();
    let leader = load(&store).await;
    server.stop();
    // The first one may find the connection as it breaks.
    store.commit(leader.epoch, Vec::new()).await;
    let outcome = store.commit(leader.epoch, vec![put(mark(1, 1))]).await;
    let StoreOutcome::Unavailable(words) = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(words.contains("127.0.0.1"), "{words}");
    assert!(words.contains("Connection refused"), "{words}");
    assert!(store.load().await.unwrap_err().may_pass());
    server.start_again();
    commit(&store, leader.epoch, vec![put(mark(1, 2))]).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_server_that_crashes_at_any_moment_loses_no_acknowledged_write_and_leaves_no_half_one() {
    let server = Arc::new(Postgres::start());
    let store = open(&server.url("")).await.unwrap();
    let leader = load(&store).await;
    let mut number = 0;
    for _ in 0..4 {
        let crashing = Arc::clone(&server);
        let crash = tokio::task::spawn_blocking(move || crashing.crash_and_restart());
        let mut acknowledged = 0;
        let mut failures = 0;
        // Until the server has come back and writes again.
        while !crash.is_finished() || failures == 0 || acknowledged < number {
            number += 1;
            let ops = generation(number).into_iter().map(put).collect();
            match store.commit(leader.epoch, ops).await {
                StoreOutcome::Done => acknowledged = number,
                StoreOutcome::Unavailable(_) | StoreOutcome::Unknown(_) => failures += 1,
                StoreOutcome::Fenced => panic!("nobody else leads"),
            }
            if failures > 0 {
                let found = server_generation(&server, acknowledged, number);
                assert!(found.await, "between {acknowledged} and {number}");
            }
        }
        crash.await.unwrap();
    }
    assert_eq!(load(&store).await.records, generation(number));
}

/// Whether the records in the database are all of one write, not before the acknowledged one. A server that is
/// away is asked later.
async fn server_generation(server: &Postgres, acknowledged: u64, last: u64) -> bool {
    let Ok(reader) = open(&server.url("")).await else {
        return true;
    };
    // Looked at without a new epoch, so that the writer goes on.
    drop(reader);
    let rows = server.sql("SELECT DISTINCT facts->>'next' FROM jobmanager.records");
    let numbers: Vec<u64> = rows.lines().map(|row| row.parse().unwrap()).collect();
    match numbers[..] {
        [] => acknowledged == 0,
        [one] => (acknowledged..=last).contains(&one),
        _ => false,
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn the_schema_is_made_once_however_many_start_and_a_later_one_is_refused() {
    let server = Postgres::start();
    let url = server.url("");
    let all: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await.map(drop) })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(server.sql("SELECT * FROM jobmanager.schema_version"), "1");
    server.sql("UPDATE jobmanager.schema_version SET version = 2");
    let words = refusal(&url).await;
    assert!(words.contains("version 2 of the schema"), "{words}");
    assert!(words.contains("a later JobManager"), "{words}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let server = Postgres::start();
    server.sql("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    let words = refusal(&server.url("").replace("/postgres?", "/old?")).await;
    assert!(words.contains("has the encoding LATIN1"), "{words}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_damaged_record_is_refused_by_its_key_and_no_epoch_is_minted() {
    let server = Postgres::start();
    let store = open(&server.url("")).await.unwrap();
    let leader = load(&store).await;
    commit(&store, leader.epoch, vec![put(mark(1, 1))]).await;
    server.sql("UPDATE jobmanager.records SET record = 'no record'");
    let error = store.load().await.unwrap_err();
    assert!(!error.may_pass());
    assert!(
        error.to_string().contains("damaged: record mark/"),
        "{error}"
    );
    commit(&store, leader.epoch, vec![put(mark(1, 2))]).await;
}

/// A job, with a name that is not plain.
fn job(id: u128) -> JobRecord {
    let graph = r#"{"name": "wörter", "vertices": [
        {"id": "a", "operator": "x", "parallelism": 3}, {"id": "b", "operator": "x", "parallelism": 4}]}"#;
    let graph = jobmanager_proto::job_json::parse(graph.as_bytes(), JobId(id), &Default::default());
    JobRecord {
        graph: Arc::new(graph.unwrap()),
        submitted: Timestamp(1_000),
        scale: None,
        began: None,
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn the_views_tell_what_is_stored() {
    let server = Postgres::start();
    let store = open(&server.url("")).await.unwrap();
    let leader = load(&store).await;
    let result = Record::Result(Arc::new(JobResult {
        job: JobId(2),
        name: "words".to_owned(),
        status: JobStatus::Failed,
        started: Timestamp(1_000),
        ended: Timestamp(3_500),
        failure: Some("no\0good".to_owned()),
        vertices: Vec::new(),
        completed_checkpoints: 5,
        restarts: 2,
        computation: 0,
        retained: None,
    }));
    let savepoint = Record::Savepoint(Arc::new(SavepointRecord {
        job: JobId(1),
        trigger: TriggerId(3),
        requested: Timestamp(1_000),
        directory: "file:///s".to_owned(),
        after: AfterSavepoint::Drain,
        outcome: Some(SavepointOutcome {
            at: Timestamp(2_000),
            result: Err("the disk is full".to_owned()),
        }),
    }));
    let records = [
        Record::Job(job(1)),
        Record::Cancel(JobId(1)),
        checkpoint(1, 9, 100),
        savepoint,
        result,
    ];
    let ops = records.iter().cloned().map(put).collect();
    commit(&store, leader.epoch, ops).await;
    let utc = "SET timezone = 'UTC'; SELECT * FROM jobmanager";
    let one = "00000000000000000000000000000001";
    let two = "00000000000000000000000000000002";
    assert_eq!(
        server.sql(&format!("{utc}.jobs")),
        format!("/default|{one}|wörter|1970-01-01 00:00:01+00|2|7|t")
    );
    assert_eq!(
        server.sql(&format!("{utc}.checkpoints")),
        format!("/default|{one}|9|1970-01-01 00:00:00.001+00|1970-01-01 00:00:00.002+00|100|1")
    );
    let three = "00000000000000000000000000000003";
    assert_eq!(
        server.sql(&format!("{utc}.savepoints")),
        format!(
            "/default|{one}|{three}|1970-01-01 00:00:01+00|file:///s|DRAIN|1970-01-01 00:00:02+00|||the disk is full"
        )
    );
    assert_eq!(
        server.sql(&format!("{utc}.results")),
        format!(
            "/default|{two}|words|FAILED|1970-01-01 00:00:01+00|1970-01-01 00:00:03.5+00|2|5|no\u{fffd}good"
        )
    );
    assert_eq!(load(&store).await.records, {
        let mut sorted = records.to_vec();
        sorted.sort_by_key(Record::key);
        sorted
    });
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn tls_is_used_as_the_url_asks_and_a_stranger_is_refused() {
    let server = Postgres::start();
    let words = refusal(&server.url("sslmode=require")).await;
    assert!(words.contains("TLS"), "{words}");
    open(&server.url("sslmode=prefer")).await.unwrap();

    let names = vec!["127.0.0.1".to_owned()];
    let ours = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let stranger = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        format!("sslmode=verify-full&sslrootcert={}", path.display())
    };
    let (known, unknown) = (
        root("ours", ours.cert.pem()),
        root("stranger", stranger.cert.pem()),
    );
    let (certificate, key) = (ours.cert.pem(), ours.signing_key.serialize_pem());
    server.restart_with(
        &[("server.crt", &certificate), ("server.key", &key)],
        "ssl = on",
    );
    // Whoever comes without TLS is not let in.
    server.restart_with(
        &[("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256")],
        "",
    );

    for accepted in ["", "sslmode=require", &known] {
        let store = open(&server.url(accepted)).await.unwrap();
        commit(&store, load(&store).await.epoch, vec![put(mark(1, 1))]).await;
    }
    let words = refusal(&server.url(&unknown)).await;
    assert!(words.contains("certificate"), "{words}");
    let words = refusal(&server.url(&known).replace("127.0.0.1", "localhost")).await;
    assert!(words.contains("certificate"), "{words}");
    let words = refusal(&server.url("sslmode=disable")).await;
    assert!(words.contains("pg_hba.conf"), "{words}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_wrong_password_is_refused_with_the_servers_words() {
    let server = Postgres::start();
    let url = server.url("").replace("%20more", "%20less");
    let words = refusal(&url).await;
    assert!(words.contains("password authentication failed"), "{words}");
}
