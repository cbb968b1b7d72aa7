//! What the project depends on, held against `.cargo/deny.toml`, as far as it is built here.

use super::assert_none;
use super::tree::root;
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use std::process::Command;
use toml::Table;

/// Where packages come from, as cargo names it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The packages of others that are built with what this test is built with.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let mut metadata = Command::new(cargo);
    metadata.current_dir(root());
    metadata.args(["metadata", "--locked", "--format-version=1"]);
    metadata.args(["--filter-platform", host.expect("rustc names its host")]);
    if cfg!(feature = "services") {
        metadata.args(["--features", "jobmanager-tests/services"]);
    }
    let output = metadata.output().expect("cargo runs this test");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let others = packages
        .iter()
        .filter(|package| !package["source"].is_null());
    others.cloned().collect()
}

fn rules() -> Table {
    let text = std::fs::read_to_string(root().join(".cargo/deny.toml")).unwrap();
    text.parse().unwrap()
}

fn texts<'a>(rules: &'a Table, part: &str, list: &str) -> Vec<&'a str> {
    let list = rules[part][list].as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}

/// What is wrong with a package by these rules.
fn offence(package: &Value, rules: &Table) -> Option<String> {
    let name = package["name"].as_str().unwrap();
    if package["source"] != CRATES_IO {
        return Some(format!("{name} comes from {}", package["source"]));
    }
    if texts(rules, "bans", "deny").contains(&name) {
        return Some(format!("{name} is banned"));
    }
    let Some(license) = package["license"].as_str() else {
        return Some(format!("{name} names no license"));
    };
    let allowed = texts(rules, "licenses", "allow");
    let allowed: Vec<_> = allowed
        .into_iter()
        .map(|it| Licensee::parse(it).unwrap())
        .collect();
    let expression = match Expression::parse_mode(license, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let suits = expression.evaluate(|wanted| allowed.iter().any(|it| it.satisfies(wanted)));
    (!suits).then(|| format!("{name} is licensed as {license}"))
}

#[test]
fn what_is_built_comes_from_where_it_may_and_under_licenses_that_suit() {
    let (packages, rules) = (packages(), rules());
    assert!(packages.len() > 100, "cargo names too few packages");
    let offenders: Vec<_> = packages
        .iter()
        .filter_map(|it| offence(it, &rules))
        .collect();
    assert_none(&offenders, "not by .cargo/deny.toml");
}

#[test]
fn what_does_not_suit_is_seen() {
    let rules = rules();
    let package = |name: &str, source: &str, license: Value| {
        let package = serde_json::json!({ "name": name, "source": source, "license": license });
        offence(&package, &rules)
    };
    assert_eq!(package("a", CRATES_IO, "MIT/Apache-2.0".into()), None);
    assert_eq!(package("a", CRATES_IO, "GPL-3.0-only OR MIT".into()), None);
    for (package, wrong) in [
        (
            package("a", CRATES_IO, "GPL-3.0-only AND MIT".into()),
            "licensed",
        ),
        (package("a", CRATES_IO, Value::Null), "no license"),
        (package("a", CRATES_IO, "whatever".into()), "whatever"),
        (package("openssl-sys", CRATES_IO, "MIT".into()), "banned"),
        (
            package("a", "git+https://example.org/a", "MIT".into()),
            "comes from",
        ),
    ] {
        assert!(
            package.as_ref().is_some_and(|it| it.contains(wrong)),
            "{wrong}: {package:?}"
        );
    }
}
