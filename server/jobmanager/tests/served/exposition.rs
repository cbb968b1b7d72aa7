//! What Prometheus scrapes: well-formed by its own rules, with Flink's names, and with everything that the dashboard and
//! the alerts in `server/deploy` ask for.

use crate::support::{Running, job};
use jobmanager::security::{Role, mint};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// One sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// The samples by family, each with its type; anything that is not well-formed fails the test.
fn parse(text: &str) -> BTreeMap<String, (String, Vec<Sample>)> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let mut families: BTreeMap<String, (String, Vec<Sample>)> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "{line}: twice");
            assert!(words.len() > 5, "{line}: no words");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "{line}: no help");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            let new = families.insert(name.to_owned(), (kind.to_owned(), Vec::new()));
            assert!(new.is_none(), "{line}: twice");
            name.clone_into(&mut current);
        } else {
            let sample = sample(line);
            let (kind, samples) = families.get_mut(&current).unwrap();
            let suffix = sample.0.strip_prefix(&current).expect(line);
            let allowed: &[&str] = match &**kind {
                "gauge" => &[""],
                "counter" => &["_total"],
                _ => &["_bucket", "_sum", "_count"],
            };
            assert!(allowed.contains(&suffix), "{line}: not of a {kind}");
            samples.push(sample);
        }
    }
    families
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after);
            let new = labels.insert(label.to_owned(), value);
            assert!(new.is_none(), "{line}: a label twice");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect(line).parse().expect(line);
    (name.to_owned(), labels, value)
}

/// The text up to the closing quote, and what follows that.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => panic!("{text}: {other:?} is escaped"),
            },
            other => value.push(other),
        }
    }
    panic!("{text}: no closing quote");
}

/// Every series once; buckets that do not fall, the last of which has all.
fn check(families: &BTreeMap<String, (String, Vec<Sample>)>) {
    for (family, (kind, samples)) in families {
        let series: BTreeSet<_> = samples
            .iter()
            .map(|(name, labels, _)| (name, labels))
            .collect();
        assert_eq!(series.len(), samples.len(), "{family}: a series twice");
        if kind != "histogram" {
            continue;
        }
        let of = |suffix: &str| {
            let name = format!("{family}{suffix}");
            samples.iter().filter(move |(sample, _, _)| *sample == name)
        };
        let buckets: Vec<f64> = of("_bucket").map(|(_, _, value)| *value).collect();
        assert!(buckets.is_sorted(), "{family}: {buckets:?}");
        let (_, labels, _) = of("_bucket").next_back().unwrap();
        assert_eq!(labels["le"], "+Inf", "{family}");
        let (_, _, count) = of("_count").next().unwrap();
        assert_eq!(buckets.last(), Some(count), "{family}");
    }
}

fn value(families: &BTreeMap<String, (String, Vec<Sample>)>, family: &str, suffix: &str) -> f64 {
    let (_, samples) = families.get(family).expect(family);
    let name = format!("{family}{suffix}");
    let wanted = samples.iter().filter(|(sample, _, _)| *sample == name);
    wanted.map(|(_, _, value)| value).sum()
}

async fn scrape(running: &Running) -> BTreeMap<String, (String, Vec<Sample>)> {
    scrape_as(running, &[]).await
}

async fn scrape_as(
    running: &Running,
    headers: &[(&str, &str)],
) -> BTreeMap<String, (String, Vec<Sample>)> {
    let (head, body) = running.fetch("GET", "/metrics", headers, "").await;
    assert_eq!(head.status, 200);
    let kind = head.headers["content-type"].to_str().unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let families = parse(std::str::from_utf8(&body).unwrap());
    check(&families);
    families
}

#[tokio::test]
async fn what_prometheus_scrapes_is_well_formed_and_has_flinks_names() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    scrape(&running).await;
    let mut session = running.taskmanager("tm-1", 2).await;
    let name = "a \"name\"\\with {every}=trap,";
    let graph = job("").replace("\"test\"", &serde_json::to_string(name).unwrap());
    let (status, accepted) = running.request("POST", "/jobs", graph).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["jobid"].as_str().unwrap();
    session.hear_deploy().await;

    let families = scrape(&running).await;
    for (family, suffix, expected) in [
        ("flink_jobmanager_numRunningJobs", "", 1.0),
        ("flink_jobmanager_numRegisteredTaskManagers", "", 1.0),
        ("flink_jobmanager_taskSlotsTotal", "", 2.0),
        ("flink_jobmanager_taskSlotsAvailable", "", 0.0),
        ("flink_jobmanager_job_numRestarts", "", 0.0),
        ("flink_jobmanager_job_lastCheckpointDuration", "", -1.0),
        ("jobmanager_jobs", "", 1.0),
        ("jobmanager_tasks", "", 4.0),
        ("jobmanager_store_problem", "", 0.0),
        ("jobmanager_job_adopted_attempts", "", 0.0),
        ("jobmanager_detection_seconds", "_count", 0.0),
    ] {
        assert_eq!(value(&families, family, suffix), expected, "{family}");
    }
    assert!(value(&families, "jobmanager_step_seconds", "_count") >= 3.0);
    assert!(value(&families, "jobmanager_store_commits", "_total") >= 1.0);
    assert!(value(&families, "jobmanager_store_commit_seconds", "_count") >= 1.0);
    let (_, samples) = &families["flink_jobmanager_job_uptime"];
    let (_, labels, _) = &samples[0];
    assert_eq!((&*labels["job_id"], &*labels["job_name"]), (id, name));

    let listed = running.get(&format!("/jobs/{id}/metrics")).await;
    for metric in listed.as_array().unwrap() {
        let metric = metric["id"].as_str().unwrap();
        let family = format!("flink_jobmanager_job_{metric}");
        let is_text = metric == "lastCheckpointExternalPath";
        assert_eq!(families.contains_key(&family), !is_text, "{family}");
    }

    drop(session);
    let gone = |value: &serde_json::Value| value["taskmanagers"] == 0;
    running.until("/overview", gone).await;
    let families = scrape(&running).await;
    assert_eq!(
        value(&families, "jobmanager_detection_seconds", "_count"),
        1.0
    );
    running.stop().await;
}

/// What there is of a JobManager that starts TaskManagers when jobs need them.
async fn where_taskmanagers_are_started() -> BTreeMap<String, (String, Vec<Sample>)> {
    let folder = tempfile::tempdir().unwrap();
    let provider = [
        "resourcemanager.provider=process",
        "taskmanager.jobmanager-addresses=127.0.0.1:1",
    ];
    let running = Running::start(folder.path(), &provider).await;
    let families = scrape(&running).await;
    running.stop().await;
    families
}

/// Writes a certificate that is its own authority and expires with this year, and its key.
fn write_certificate(folder: &Path, year: i32) {
    let mut params = CertificateParams::new(["flows".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 12, 31);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A JobManager whose TaskManagers are shown that certificate.
async fn with_certificate(folder: &Path) -> Running {
    let file = |key: &str, name: &str| {
        let file = folder.join(name);
        format!("security.ssl.internal.{key}={}", file.display())
    };
    let define = [
        &*file("certificate", "certificate.pem"),
        &file("key", "key.pem"),
        &file("ca", "certificate.pem"),
        "security.ssl.internal.enabled=true",
        "security.ssl.internal.cluster-name=flows",
    ];
    Running::start(&folder.join("data"), &define).await
}

#[tokio::test]
async fn when_a_certificate_expires_is_told_of_the_one_that_is_shown_now() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path(), 2_099);
    let running = with_certificate(folder.path()).await;
    let end = async || {
        let families = scrape(&running).await;
        let (_, samples) = &families["jobmanager_certificate_not_after_seconds"];
        let [(_, labels, end)] = &samples[..] else {
            panic!("{samples:?}");
        };
        assert_eq!(labels["of"], "certificate of this member");
        *end
    };
    let ends = [2_099, 2_100].map(|year| date_time_ymd(year, 12, 31).unix_timestamp());
    assert_eq!(end().await as i64, ends[0]);
    write_certificate(folder.path(), 2_100);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while end().await as i64 != ends[1] {
        assert!(tokio::time::Instant::now() < deadline, "{}", end().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    // Of files there are metrics where there are files.
    let (token, line) = mint("prometheus", Role::Operator).unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, line).unwrap();
    let define = format!("security.rest.tokens={}", tokens.display());
    let running = Running::start(&folder.path().join("data"), &[&define]).await;
    let shown = format!("Bearer {token}");
    let shown = [("authorization", &*shown)];
    let (head, _) = running.fetch("POST", "/jobs", &shown, job("")).await;
    assert_eq!(head.status, 202);
    let families = scrape_as(&running, &shown).await;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut provided = where_taskmanagers_are_started().await;
    let secured = tempfile::tempdir().unwrap();
    write_certificate(secured.path(), 2_099);
    let with_certificate = with_certificate(secured.path()).await;
    provided.extend(scrape(&with_certificate).await);
    with_certificate.stop().await;
    for file in ["grafana.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).unwrap();
        let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let names = words.filter(|word| {
            word.starts_with("flink_jobmanager_") || word.starts_with("jobmanager_")
        });
        let mut count = 0;
        for name in names {
            let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
            let mut bare = suffixes
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix));
            assert!(
                bare.any(|name| families.contains_key(name) || provided.contains_key(name)),
                "{file}: {name}"
            );
            count += 1;
        }
        assert!(count > 5, "{file} names {count} metrics");
    }
    running.stop().await;
}
