//! What is kept of a log, and what is given away of it.

#![allow(clippy::unwrap_used)]

use super::*;

fn text(log: &RecentLog, wanted: Wanted) -> String {
    String::from_utf8(log.read(wanted).unwrap().text).unwrap()
}

fn last(lines: u64) -> Wanted {
    Wanted {
        lines: Some(lines),
        ..Wanted::default()
    }
}

fn after(position: Position) -> Wanted {
    Wanted {
        after: Some(position),
        ..Wanted::default()
    }
}

#[test]
fn whole_lines_are_kept_and_no_more_bytes_than_allowed() {
    let log = RecentLog::new(10);
    for line in ["one\n", "two\n", "three\n"] {
        log.append(line.as_bytes());
        assert!(log.read(Wanted::default()).unwrap().kept <= 10);
    }
    assert_eq!(text(&log, Wanted::default()), "two\nthree\n");
    log.append(b"x\n");
    assert_eq!(text(&log, Wanted::default()), "three\nx\n");
    log.append(b"much too long\n");
    assert_eq!(text(&log, Wanted::default()), "");
    log.append(b"exactly10\n");
    assert_eq!(text(&log, Wanted::default()), "exactly10\n");
    assert!(log.lines().bytes.capacity() <= 16);
}

#[test]
fn the_last_lines_are_as_many_as_there_are() {
    let log = RecentLog::new(100);
    assert_eq!(text(&log, last(3)), "");
    log.append(b"one\ntwo\n");
    log.append(b"three\n");
    for (lines, wanted) in [
        (0, ""),
        (1, "three\n"),
        (2, "two\nthree\n"),
        (3, "one\ntwo\nthree\n"),
        (u64::MAX, "one\ntwo\nthree\n"),
    ] {
        assert_eq!(text(&log, last(lines)), wanted);
    }
}

#[test]
fn who_follows_misses_nothing_or_is_told_how_much() {
    let log = RecentLog::new(10);
    log.append(b"one\n");
    let end = log.read(last(0)).unwrap().end;
    assert_eq!(text(&log, after(end)), "");
    log.append(b"two\n");
    let next = log.read(after(end)).unwrap();
    assert_eq!((next.text.as_slice(), next.missed), (&b"two\n"[..], 0));
    log.append(b"three\n");
    log.append(b"four\n");
    let late = log.read(after(end)).unwrap();
    assert_eq!((late.text.as_slice(), late.missed), (&b"four\n"[..], 10));
    assert_eq!(late.end.offset, end.offset + 15);
}

#[test]
fn a_position_of_another_process_is_none_and_one_of_the_future_is_the_end() {
    let log = RecentLog::new(100);
    log.append(b"one\n");
    let end = log.read(last(0)).unwrap().end;
    let process = end.process + 1;
    assert_eq!(text(&log, after(Position { process, ..end })), "one\n");
    let offset = u64::MAX;
    assert_eq!(text(&log, after(Position { offset, ..end })), "");
}

#[test]
fn a_log_that_is_switched_off_has_nothing_and_forgets_what_it_had() {
    let log = RecentLog::new(100);
    log.append(b"one\n");
    log.set_limit(0);
    assert_eq!(log.read(Wanted::default()), None);
    log.append(b"two\n");
    log.set_limit(100);
    assert_eq!(text(&log, Wanted::default()), "");
}

#[test]
fn a_position_is_read_as_it_is_written() {
    let position = Position {
        process: 17,
        offset: 3,
    };
    assert_eq!(position.to_string().parse(), Ok(position));
    for wrong in ["", "-", "1", "1-", "-1", "1-x", "1-2-3", "-1-2"] {
        assert!(wrong.parse::<Position>().is_err(), "{wrong}");
    }
}

#[test]
fn colours_are_left_out_and_nothing_else_is() {
    for (coloured, plain) in [
        (
            "\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m a[0]\n",
            "12:00  INFO a[0]\n",
        ),
        ("no colours\n", "no colours\n"),
        ("\x1b[1;31mé\x1b[0m", "é"),
        ("half \x1b[3", "half "),
        ("", ""),
    ] {
        assert_eq!(without_colours(coloured.as_bytes()), plain.as_bytes());
    }
}
