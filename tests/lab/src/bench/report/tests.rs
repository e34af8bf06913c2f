use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// What `results.json` looks like: one contest with one side missing, one row, one plot.
const RESULTS: &str = r#"{
  "publish": {
    "when": "2026-11-22 16:00 UTC", "command": "cargo lab bench publish", "machine": "Two cores.", "disk": "ext4 on /dev/vda.",
    "load": [0.1, 1.9], "seconds": 61.0, "quick": false,
    "found": { "contests": [{
      "name": "publish", "title": "Publishes", "unit": "publishes/s", "compared": true,
      "contenders": [
        { "card": { "name": "Weir", "means": "on disk", "settings": "as it comes" },
          "turns": [100000.0, 300000.0, 200000.0], "cpu_micros": [2.0, 2.5, 3.0] },
        { "card": { "name": "other", "means": "in memory", "settings": "one subscriber" },
          "turns": [50000.0, 20000.0, 20000.0], "cpu_micros": [20.0, 21.0, 22.0], "goal": "10x" },
        { "card": { "name": "third", "means": "", "settings": "" },
          "turns": [], "skipped": "it is not there; type: install third" }
      ] }] }
  },
  "scaling-devices": {
    "when": "2026-11-22 17:00 UTC", "command": "cargo lab bench scaling --quick", "machine": "Two cores.", "disk": "ext4 on /dev/vda.",
    "load": [0.1, 1.9], "seconds": 9.0, "quick": true,
    "found": {
      "measures": [{ "what": "CPU over 10 devices", "got": "4.1 us", "reference": "itself", "goal": "within 20 %" }],
      "figures": [{ "name": "scaling-devices", "plot": {
        "title": "CPU of a reading", "axes": ["devices", "microseconds"], "logarithmic": [true, false],
        "lines": [{ "name": "median", "points": [[10.0, 4.1], [100.0, 4.2]] }], "bands": [] } }],
      "turns": { "microseconds over 10 devices": [4.0, 4.1, 4.2] }
    }
  }
}"#;

fn report() -> (TempDir, Report, Results) {
    let directory = TempDir::new().unwrap();
    let report = Report::at(&directory.path().join("BENCHMARKS.md")).unwrap();
    (directory, report, serde_json::from_str(RESULTS).unwrap())
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn results_become_a_page_with_ratios_and_plots() {
    let (directory, report, results) = report();
    report.write(&results).unwrap();
    let page = fs::read_to_string(directory.path().join("BENCHMARKS.md")).unwrap();
    for expected in [
        "| server | an answer means | publishes/s | CPU each | Weir to it | goal |",
        "| Weir | on disk | 200k (100k to 300k) | 2.5 us |  |  |",
        // 2, 15 and 10 times, turn by turn.
        "| other | in memory | 20k (20k to 50k) | 21 us | 10.00 (2.00 to 15.00)x | 10x |",
        "| third | SKIPPED: it is not there; type: install third | | | | |",
        "- other: one subscriber.",
        "![Publishes](benchmarks/publish.svg)",
        "`cargo lab bench publish`, 61 s. Two cores. ext4 on /dev/vda. Load 0.1 before, 1.9 at the end.",
        "| CPU over 10 devices | 4.1 us | itself | within 20 % |",
        "![CPU of a reading](benchmarks/scaling-devices.svg)",
        "**A slice: it shows that it runs, not how fast it is.**",
        "[results.json](benchmarks/results.json)",
    ] {
        assert!(page.contains(expected), "{expected}\nis not in\n{page}");
    }
    let publish = fs::read_to_string(directory.path().join("benchmarks/publish.svg")).unwrap();
    assert!(publish.contains("other") && !publish.contains("third"), "{publish}");
    assert!(fs::read_to_string(directory.path().join("benchmarks/scaling-devices.svg")).unwrap().contains("median"));
}

#[test]
fn the_same_results_are_the_same_bytes_also_when_they_were_read_again() {
    let (directory, report, results) = report();
    report.write(&results).unwrap();
    let first =
        (files(&directory.path().join("benchmarks")), fs::read(directory.path().join("BENCHMARKS.md")).unwrap());
    report.write(&report.results().unwrap()).unwrap();
    let second =
        (files(&directory.path().join("benchmarks")), fs::read(directory.path().join("BENCHMARKS.md")).unwrap());
    assert_eq!(first, second);
}

#[test]
fn a_measure_that_is_taken_again_replaces_itself_alone() {
    let (_directory, report, results) = report();
    report.write(&results).unwrap();
    let again = Ran { when: "2026-11-23 08:00 UTC".to_owned(), ..results.0["publish"].clone() };
    report.replace("publish", again.clone()).unwrap();
    let kept = report.results().unwrap();
    assert_eq!(kept.0["publish"], again);
    assert_eq!(kept.0["scaling-devices"], results.0["scaling-devices"]);
}

#[test]
fn results_that_nobody_wrote_are_not_overwritten() {
    let (directory, report, results) = report();
    report.write(&results).unwrap();
    fs::write(directory.path().join("benchmarks/results.json"), "{ by hand").unwrap();
    let error = report.replace("publish", Ran::default()).unwrap_err();
    assert!(format!("{error:#}").contains("is not as it was written"), "{error:#}");
    assert_eq!(fs::read_to_string(directory.path().join("benchmarks/results.json")).unwrap(), "{ by hand");
}
