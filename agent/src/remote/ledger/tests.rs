//! What the ledger remembers, and what of an earlier build it reads.

use super::*;

/// As the first build wrote it, and with a field of a later one.
#[test]
fn a_ledger_of_any_build_is_read() {
    let written = r#"{"highest":8,"highest_digest":"ab","confirmed":{"version":7,"settings":"drain = \"3s\"\n"},
        "trial":{"overlay":{"version":8,"settings":""},"starts":1},
        "owed":[{"number":3,"about":"config","headline":"8 trying","detail":""}],"next_number":4,
        "commands":[{"id":"c-1","digest":"cd","expires":100,"is_done":false}],"forgotten":50,"of_a_later_build":1}"#;
    let mut ledger: Ledger = serde_json::from_str(written).unwrap();
    assert_eq!(ledger.overlay().map(|overlay| overlay.version), Some(8));
    assert_eq!(ledger.owed().map(|outcome| outcome.about), Some(About::Config));
    assert!(ledger.has_unplaced());
    ledger.start(Restart::from_agent(7));
    ledger.place();
    let first = Place { restart: Restart::from_agent(7), first: Sequence(0) };
    assert_eq!(ledger.owed().and_then(|outcome| outcome.place), Some(first));
    assert_eq!(ledger.begin("c-2", "", (50, 0), false), Err(NotBegun::Forgotten));
    assert_eq!(ledger.interrupted(), ["c-1"]);
    assert_eq!(serde_json::from_str::<Ledger>("{}").unwrap(), Ledger::default());
}

#[test]
fn a_command_is_begun_once_even_if_the_clock_goes_back_after_it_was_forgotten() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.begin("a", "", (100, 50), false), Ok(()));
    assert_eq!(ledger.begin("a", "", (100, 51), false), Err(NotBegun::Repeated));
    ledger.end("a", Recorded { how: "exited 0".to_owned(), output: String::new() });
    assert_eq!(ledger.begin("b", "", (300, 200), false), Ok(()), "which forgets the first");
    assert_eq!(ledger.begin("a", "", (100, 50), false), Err(NotBegun::Forgotten));
    assert_eq!(ledger.interrupted(), ["b"]);
}

#[test]
fn what_became_of_a_command_is_kept_for_whoever_asks_again_once_it_is_not_owed() {
    let mut ledger = Ledger::default();
    ledger.begin("a", "", (100, 50), true).unwrap();
    assert_eq!(ledger.result_of("a"), None, "it runs");
    let output = format!("{}é{}", "x".repeat(10), "y".repeat(MAX_RECORDED - 1));
    let decides = ledger.end("a", Recorded { how: "exited 0".to_owned(), output });
    assert_eq!(decides.map(|id| id.to_string()).as_deref(), Some("a"));
    ledger.owe(About::Command, "a exited 0".to_owned(), String::new(), decides);
    assert_eq!(ledger.result_of("a"), None, "it is owed");
    ledger.paid(0);
    let result = ledger.result_of("a").unwrap();
    assert_eq!((result.how.as_str(), result.output.as_str()), ("exited 0", &*"y".repeat(MAX_RECORDED - 1)));
}

#[test]
fn commands_and_results_that_are_remembered_are_bounded() {
    let mut ledger = Ledger::default();
    for number in 0..MAX_COMMANDS {
        assert_eq!(ledger.begin(&format!("c{number}"), "", (100, 50), false), Ok(()));
    }
    assert_eq!(ledger.begin("one-more", "", (100, 50), false), Err(NotBegun::Full));
    let gone: Vec<_> = (0..MAX_OWED + 2)
        .filter_map(|number| ledger.owe(About::Config, number.to_string(), String::new(), None))
        .map(|outcome| outcome.headline)
        .collect();
    assert_eq!(gone, ["0", "1"]);
    ledger.paid(2);
    assert_eq!(ledger.owed().map(|outcome| outcome.number), Some(3));
}

#[test]
fn a_trial_that_was_started_twice_is_not_started_again() {
    let overlay = Overlay { version: 1, settings: String::new() };
    let mut ledger = Ledger { trial: Some(Trial { overlay, starts: 0 }), ..Ledger::default() };
    assert_eq!([ledger.begin_trial(), ledger.begin_trial(), ledger.begin_trial()], [true, true, false]);
}

/// What is told again is told under the number that it had, whatever was told, dropped or started meanwhile.
#[test]
fn the_identity_of_a_result_is_decided_once() {
    let place = |restart, first| Some(Place { restart: Restart::from_agent(restart), first: Sequence(first) });
    let mut ledger = Ledger::default();
    ledger.start(Restart::from_agent(1));
    let detail = "x".repeat(300);
    ledger.owe(About::Command, "a exited 0".to_owned(), detail, None);
    ledger.owe(About::Command, "b exited 0".to_owned(), String::new(), None);
    let kept = serde_json::to_string(&ledger).unwrap();
    let mut ledger: Ledger = serde_json::from_str(&kept).unwrap();
    ledger.start(Restart::from_agent(2));
    ledger.place();
    ledger.owe(About::Config, "7 trying".to_owned(), String::new(), None);
    let mut places = Vec::new();
    while let Some(number) = ledger.owed().map(|outcome| outcome.number) {
        places.push(ledger.owed().and_then(|outcome| outcome.place));
        ledger.paid(number);
    }
    // The first has a headline and three pieces of 128 bytes at most.
    assert_eq!(places, [place(1, 0), place(1, 4), place(2, 0)]);
    assert_eq!(ledger.restarts().collect::<Vec<_>>(), [1, 2, 2].map(Restart::from_agent));
    for start in 3..40 {
        ledger.start(Restart::from_agent(start));
        ledger.owe(About::Config, "8 trying".to_owned(), String::new(), None);
    }
    assert_eq!(ledger.restarts.len(), MAX_RESTARTS);
    assert!(ledger.restarts().any(|restart| restart == Restart::from_agent(3)), "it is owed");
}
