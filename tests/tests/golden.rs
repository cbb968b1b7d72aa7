//! The core's formulas give what Flink's own classes gave, and the check of that sees what is wrong.

#![allow(clippy::unwrap_used)]

use jobmanager_core::id::SubtaskIndex;
use jobmanager_core::redistribute::{Report, Split};
use jobmanager_tests::golden::{Difference, Finding, check};
use std::path::Path;
use std::process::{Command, Output};

const VECTORS: &str = include_str!("../../core/golden/vectors.txt");

/// The vectors of a kind; at least one.
fn vectors(kind: &str) -> Vec<&'static str> {
    let is_of_kind = |line: &&str| line.split(' ').next() == Some(kind);
    let vectors: Vec<_> = VECTORS.lines().filter(is_of_kind).collect();
    assert!(!vectors.is_empty(), "{kind}");
    vectors
}

/// How the only line differs.
fn difference(line: &str) -> (String, String) {
    let report = check(line);
    match &report.findings[..] {
        [(1, Finding::Differs(Difference { expected, computed }))] => {
            (expected.clone(), computed.clone())
        }
        _ => panic!("{line}: {report}"),
    }
}

fn assert_differs(line: &str, expected: &str, computed: &str) {
    let wanted = (expected.to_owned(), computed.to_owned());
    assert_eq!(difference(line), wanted, "{line}");
}

fn assert_agrees(line: &str) {
    let report = check(line);
    assert_eq!(
        report.to_string(),
        "1 agree, 0 differ, 0 malformed",
        "{line}"
    );
}

#[test]
fn the_formulas_give_what_flink_gives() {
    let report = check(VECTORS);
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(report.agree, VECTORS.lines().count());
    for kind in ["murmur", "defmax", "kgr", "pointwise", "mapper", "opstate"] {
        vectors(kind);
    }
}

#[test]
fn a_wrong_vector_of_each_kind_is_seen() {
    assert_differs("murmur 0 593689055", "593689055", "593689054");
    assert_differs("murmur 0 -1", "-1", "593689054");
    assert_differs("defmax 86 128", "128", "256");
    assert_differs("kgr 7 2 0:0-3 1:4-7", "1:4-7", "1:4-6");
    assert_differs("pointwise 3 2 0:0-1 1:1-2", "0:0-1", "0:0-0");
    let round_robin = "mapper ROUND_ROBIN old=3 new=2 0:[2,0] 1:[]";
    assert_differs(round_robin, "0:[2,0] 1:[]", "0:[0,2] 1:[1]");
    assert_differs("mapper FULL old=2 new=1 0:[0]", "0:[0]", "0:[0,1]");
    assert_differs("mapper FIRST old=2 new=2 1:[1]", "1:[1]", "1:[]");
    assert_differs("mapper RANGE old=3 new=2 1:[2]", "1:[2]", "1:[1,2]");
    let unsupported = "mapper UNSUPPORTED old=1 new=2 0:[0]";
    assert_differs(unsupported, "0:[0]", "0:unsupported");
    assert_agrees("mapper UNSUPPORTED old=1 new=2");
}

#[test]
fn a_wrong_number_anywhere_in_what_is_expected_is_seen() {
    for kind in ["kgr", "pointwise", "mapper"] {
        for line in vectors(kind) {
            let given = line.find(':').unwrap();
            let digits = line.char_indices().skip(given + 1);
            let mut changed = 0;
            for (at, digit) in digits.filter(|(_, character)| character.is_ascii_digit()) {
                let is_index = line[at..]
                    .trim_start_matches(char::is_numeric)
                    .starts_with(':');
                if !is_index {
                    let other = if digit == '1' { '2' } else { '1' };
                    difference(&format!("{}{other}{}", &line[..at], &line[at + 1..]));
                    changed += 1;
                }
            }
            assert!(changed > 0, "{line}");
        }
    }
}

#[test]
fn a_wrong_number_of_partitions_is_seen() {
    for line in vectors("opstate") {
        let (given, expected) = line.split_once(" => ").unwrap();
        for (at, _) in expected.match_indices("[h") {
            let end = at + 2 + expected[at + 2..].find(['[']).unwrap() + 1;
            let comma = if expected[end..].starts_with(']') {
                ""
            } else {
                ","
            };
            let more = format!(
                "{given} => {}77{comma}{}",
                &expected[..end],
                &expected[end..]
            );
            difference(&more);
        }
    }
}

#[test]
fn wrong_operator_state_is_shown_where_it_is_wrong() {
    let split = "opstate old=2 new=3 o0.s0=3S o1.s0=2S => n0=[h0.s0[0,1]]";
    assert_agrees(&format!("{split} n1=[h0.s0[2],h1.s0[0]] n2=[h1.s0[1]]"));
    assert_agrees(&format!("{split} n1=[h1.s0[0],h0.s0[2]]"));
    let shifted = "n1=[h0.s0[2]] n2=[h1.s0[0,1]]";
    let computed = "n1=[h0.s0[2],h1.s0[0]] n2=[h1.s0[1]]";
    assert_differs(&format!("{split} {shifted}"), shifted, computed);
    let reversed = "opstate old=1 new=2 o0.s1=4S => n0=[h0.s1[1001,1000]]";
    assert_differs(reversed, "n0=[h0.s1[1001,1000]]", "n0=[h0.s1[1000,1001]]");
    let union = "opstate old=2 new=1 o0.s0=1U o1.s0=0U => n0=[h0.s0[0]]";
    assert_differs(union, "n0=[h0.s0[0]]", "n0=[h0.s0[0],h1.s0[]]");
    let stranger = "opstate old=1 new=1 o0.s0=1U => n0=[h0.s0[0],h0.s1[1000],h0.s1[1000]]";
    assert_differs(stranger, "n0=[h0.s1[1000],h0.s1[1000]]", "n0=[]");
    let twice = "opstate old=1 new=1 o0.s0=1U => n0=[h0.s0[0],h0.s0[0]]";
    assert_differs(twice, "n0=[h0.s0[0],h0.s0[0]]", "n0=[h0.s0[0]]");
}

#[test]
fn a_broadcast_may_come_from_oneself_too_if_not_all_reported() {
    let line = "opstate old=3 new=3 o0.s0=1B o2.s0=1B => n0=[h0.s0[0]] n1=[h2.s0[0]]";
    assert_agrees(&format!("{line} n2=[h0.s0[0]]"));
    assert_agrees(&format!("{line} n2=[h0.s0[0],h2.s0[0]]"));
    let twice = "n0=[h0.s0[0],h0.s0[0]]";
    let line_with_twice = line.replace("n0=[h0.s0[0]]", twice);
    assert_differs(&line_with_twice, twice, "n0=[h0.s0[0]]");
    let own = "n2=[h2.s0[0]]";
    assert_differs(&format!("{line} {own}"), own, "n2=[h0.s0[0]]");
}

#[test]
fn split_states_may_have_their_turns_in_any_order() {
    let line = "opstate old=1 new=3 o0.s0=1S o0.s1=1S =>";
    assert_agrees(&format!("{line} n0=[h0.s0[0]] n1=[h0.s1[1000]] n2=[]"));
    assert_agrees(&format!("{line} n0=[h0.s1[1000]] n1=[h0.s0[0]] n2=[]"));
    let computed = "s0 from n0, s1 from n1, or another order of the states";
    let both_first = format!("{line} n0=[h0.s0[0],h0.s1[1000]] n1=[] n2=[]");
    assert_differs(&both_first, "s0 from n0, s1 from n0", computed);
    let nobody_first = format!("{line} n0=[] n1=[h0.s0[0]] n2=[h0.s1[1000]]");
    assert_differs(&nobody_first, "s0 from n1, s1 from n2", computed);
    let with_empty = "opstate old=1 new=3 o0.s0=0S o0.s1=1S => n0=[h0.s1[1000]] n1=[] n2=[]";
    assert_agrees(with_empty);
    let alone = "opstate old=1 new=3 o0.s0=0S o0.s1=1S => n0=[] n1=[h0.s1[1000]] n2=[]";
    let computed = "s0 from n0, s1 from n0, or another order of the states";
    assert_differs(alone, "s0 from n0 or n1 or n2, s1 from n1", computed);
}

/// The vector of one old subtask with these numbers of partitions, split with turns in this order.
fn split_in(order: [usize; 3], partitions: [u32; 3], receivers: u32) -> String {
    let mut handles = vec![Vec::new(); receivers as usize];
    let mut start = SubtaskIndex(0);
    for state in order {
        let reports = [Report {
            subtask: SubtaskIndex(0),
            partitions: partitions[state],
        }];
        let split = Split::new(&reports, receivers, start);
        for (receiver, handles) in (0..).map(SubtaskIndex).zip(&mut handles) {
            for run in split.runs(receiver) {
                let called = |position: u32| (1_000 * state as u32 + position).to_string();
                let called: Vec<_> = run.partitions.map(called).collect();
                handles.push(format!("h0.s{state}[{}]", called.join(",")));
            }
        }
        start = split.next_start();
    }
    let [a, b, c] = partitions;
    let mut line = format!("opstate old=1 new={receivers} o0.s0={a}S o0.s1={b}S o0.s2={c}S =>");
    for (receiver, handles) in handles.iter().enumerate() {
        line += &format!(" n{receiver}=[{}]", handles.join(","));
    }
    line
}

#[test]
fn whatever_order_the_turns_were_in_is_found() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for receivers in 2..5 {
        for number in 0..6_u32.pow(3) {
            let partitions = [number % 6, number / 6 % 6, number / 36];
            for order in orders {
                assert_agrees(&split_in(order, partitions, receivers));
            }
        }
    }
}

#[test]
fn what_is_no_vector_is_malformed() {
    for line in [
        "murmurs 0 593689054",
        "murmur",
        "murmur 0",
        "murmur 0 593689054 1",
        "murmur 4294967296 0",
        "murmur zero 593689054",
        "defmax -1 128",
        "kgr 7 2",
        "kgr 7 2 0",
        "kgr 7 2 0:0",
        "kgr 7 2 2:0-3",
        "kgr 7 8 0:0-0",
        "kgr 0 0 0:0-0",
        "pointwise 0 1 0:0-0",
        "pointwise 1 0 0:0-0",
        "pointwise 32769 1 0:0-32768",
        "mapper",
        "mapper SIDEWAYS old=1 new=1 0:[0]",
        "mapper FULL new=1 old=1 0:[0]",
        "mapper FULL old=1 new=1",
        "mapper FULL old=1 new=1 0:[0",
        "mapper FULL old=1 new=1 0:[,]",
        "mapper FULL old=1 new=1 1:[0]",
        "opstate old=1 new=1 o0.s0=1S",
        "opstate old=1 new=1 o0.s0=1S =>",
        "opstate old=0 new=1 => n0=[]",
        "opstate old=1 new=1 o0.s0=1X => n0=[]",
        "opstate old=1 new=1 o1.s0=1S => n0=[]",
        "opstate old=1 new=1 h0.s0=1S => n0=[]",
        "opstate old=1 new=1 o0.s0=1S o0.s0=1S => n0=[]",
        "opstate old=2 new=2 o0.s0=1S o1.s0=1U => n0=[]",
        "opstate old=1 new=1 o0.s0=1S => n0=[h0.s0[0]",
        "opstate old=1 new=1 o0.s0=1S => n0=[h0.s0]",
        "opstate old=1 new=1 o0.s0=1S => n0=[h0.s0[0]]]",
        "opstate old=1 new=1 o0.s0=1S => n1=[h0.s0[0]]",
    ] {
        let report = check(line);
        assert_eq!(report.malformed(), 1, "{line}: {report}");
    }
}

#[test]
fn no_damage_to_a_line_stops_the_check() {
    let looked_at_once = |line: &str| {
        let report = check(line);
        assert!(report.agree + report.findings.len() <= 1, "{line}");
    };
    for line in VECTORS.lines().filter(|line| line.len() < 400) {
        for at in 0..line.len() {
            looked_at_once(&line[..at]);
            for other in ["", "9999999999", "-", "]", "Ü", " "] {
                looked_at_once(&format!("{}{other}{}", &line[..at], &line[at + 1..]));
            }
        }
    }
}

#[test]
fn findings_have_the_numbers_of_their_lines_and_the_rest_is_checked() {
    let text = "# a comment\n\nmurmur 0 1\r\nnonsense\n  murmur 0 593689054\n";
    let report = check(text).to_string();
    let wanted = "line 3 differs\n  expected 1\n  computed 593689054\n\
        line 4 is malformed: \"nonsense\" is no kind of vector\n\
        1 agree, 1 differ, 1 malformed";
    assert_eq!(report, wanted);
}

fn golden(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_golden"));
    command.arg(file).output().unwrap()
}

#[test]
fn the_exit_code_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vectors.txt");
    for (text, code) in [
        (VECTORS.as_bytes(), 0),
        (b"murmur 0 1\nmurmur 0 593689054\n", 1),
        (b"murmur 0 1\nnonsense\n", 2),
        (b"murmur \xff 593689054\n", 2),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = golden(&file);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let summary = String::from_utf8(output.stdout).unwrap();
        assert!(summary.ends_with(" malformed\n"), "{summary}");
    }
    let missing = golden(&folder.path().join("missing"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(!missing.stderr.is_empty());
}
