//! The table of conformance is complete, and what it names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The statements of MQTT 5 (appendix B): section, first and last number.
const STATEMENTS: [(&str, u32, u32); 57] = [
    ("1.5.4", 1, 3),
    ("1.5.5", 1, 1),
    ("1.5.7", 1, 1),
    ("2.1.3", 1, 1),
    ("2.2.1", 2, 6),
    ("2.2.2", 1, 1),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 30),
    ("3.1.3", 1, 12),
    ("3.1.4", 1, 6),
    ("3.2.0", 1, 2),
    ("3.2.2", 1, 22),
    ("3.3.1", 1, 13),
    ("3.3.2", 1, 20),
    ("3.3.4", 1, 10),
    ("3.4.2", 1, 3),
    ("3.5.2", 1, 3),
    ("3.6.1", 1, 1),
    ("3.6.2", 1, 3),
    ("3.7.2", 1, 3),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 5),
    ("3.8.4", 1, 8),
    ("3.9.2", 1, 2),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.11.2", 1, 2),
    ("3.11.3", 1, 2),
    ("3.12.4", 1, 1),
    ("3.14.0", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.2", 1, 4),
    ("3.14.4", 1, 3),
    ("3.15.1", 1, 1),
    ("3.15.2", 1, 3),
    ("4.1.0", 1, 2),
    ("4.2", 1, 1),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 5),
    ("4.3.3", 1, 13),
    ("4.4.0", 1, 2),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.0", 1, 1),
    ("4.7.1", 1, 2),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.2", 1, 6),
    ("4.9.0", 1, 3),
    ("4.12.0", 1, 7),
    ("4.12.1", 1, 2),
    ("4.13.1", 1, 1),
    ("4.13.2", 1, 1),
    ("6.0.0", 1, 4),
    ("7.0.0", 1, 2),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rows of a table of the page: statement and verdict.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| MQTT-"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        (&cells[0][2..], cells[2].trim_end_matches(" |"))
    })
    .collect()
}

#[test]
fn every_statement_of_mqtt_5_is_in_the_table_once_and_in_order() {
    let page = std::fs::read_to_string(root().join("tests/mqtt/CONFORMANCE.md")).unwrap();
    let expected = STATEMENTS
        .iter()
        .flat_map(|(section, first, last)| (*first..=*last).map(move |number| format!("MQTT-{section}-{number}")));
    let found: Vec<&str> = rows(&page, "MQTT 5").into_iter().map(|(statement, _)| statement).collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn every_verdict_names_tests_that_are_there_or_a_reason() {
    let page = std::fs::read_to_string(root().join("tests/mqtt/CONFORMANCE.md")).unwrap();
    let mut missing = BTreeSet::new();
    let all = [rows(&page, "MQTT 5"), rows(&page, "MQTT 3.1.1")].concat();
    for (statement, verdict) in all {
        let (kind, rest) = verdict.split_once(": ").expect(statement);
        assert!(["shown", "not applicable", "departure"].contains(&kind) && !rest.is_empty(), "{statement}: {verdict}");
        let tests: Vec<&str> = rest.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(kind != "shown" || !tests.is_empty(), "{statement}: no test");
        missing.extend(tests.into_iter().filter(|test| !is_there(test)));
    }
    assert!(missing.is_empty(), "not there: {missing:#?}");
}

/// Whether `path::name` is a test; a path without folders lies beside this file.
fn is_there(test: &str) -> bool {
    let (path, name) = test.split_once("::").unwrap();
    let path = if path.contains('/') { root().join(path) } else { root().join(HERE).join(path) };
    let Ok(source) = std::fs::read_to_string(path) else { return false };
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    source[..at].lines().rev().take(5).any(|line| line.contains("test"))
}

const HERE: &str = "gateway/tests/front/conformance";
