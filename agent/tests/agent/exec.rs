//! Programs that print readings.

use rustix::process::{Pid, test_kill_process};
use tokio::task::JoinHandle;
use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::source::exec::{self, MAX_RATE};
use weir_agent::source::feed::Held;
use weir_agent::source::{LifeError, supervise};
use weir_protocol::Value;
use weir_protocol::settings::Source;

use crate::support::sources::Bench;
use crate::support::wait::until;
use crate::support::{NOON, device};

/// One life of a source that runs this script.
fn lives(bench: &Bench, script: &str, keys: &str) -> JoinHandle<Result<(), LifeError>> {
    let config = settings(script, keys).expect("good settings");
    let settings = config.exec[0].clone();
    tokio::spawn(exec::run(settings, bench.context("exec", "ups")))
}

fn settings(script: &str, keys: &str) -> Result<Config, String> {
    let text = format!("[[exec]]\ndevice = \"ups\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n{keys}\n");
    Config::of(&Source::new("agent.toml", text)).map_err(|error| error.to_string())
}

fn named(held: &[Held]) -> Vec<(&str, &str, Value<'static>)> {
    held.iter().map(|held| (held.channel.as_str(), held.unit.as_str(), held.value)).collect()
}

#[tokio::test]
async fn each_run_gives_its_readings_with_their_units() {
    let bench = Bench::unlinked();
    let life =
        lives(&bench, "echo charge 98.5 %; echo '{\"name\": \"line\", \"value\": true}'", "interval = \"100ms\"");
    let held = bench.gives(|held| held.len() == 2).await;
    assert_eq!(named(&held), [("charge", "%", Value::Double(98.5)), ("line", "1", Value::Boolean(true))]);
    assert_eq!((held[0].device, held[0].at.time), (device("ups"), NOON));
    bench.looks(|health| health.readings >= 6).await;
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_program_that_fails_is_named_with_its_last_words_and_run_again() {
    let bench = Bench::unlinked();
    let config = settings("echo level 2 m; echo no paper >&2; exit 3", "interval = \"100ms\"").expect("good settings");
    let settings = config.exec[0].clone();
    let random = rand::SeedableRng::seed_from_u64(1);
    let live = move |context| exec::run(settings.clone(), context);
    let source = tokio::spawn(supervise(bench.context("exec", "ups"), random, live));
    let health = bench.looks(|health| health.failures > 0).await;
    assert_eq!(health.last_error.as_deref(), Some("it exited with code 3: no paper"));
    assert_eq!((health.state, health.readings), (SourceState::Waiting, 1), "what it printed counts");
    assert_eq!(bench.counters.get(Event::ProgramErrors), 1);
    bench.stops();
    source.await.expect("a good end");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_which() {
    let bench = Bench::unlinked();
    let text = "[[exec]]\ndevice = \"ups\"\ncommand = [\"/does/not/exist\"]\n";
    let config = Config::of(&Source::new("agent.toml", text)).expect("good settings");
    let ended = exec::run(config.exec[0].clone(), bench.context("exec", "ups"));
    // It waits for its next turn before it gives up; what is wrong is known at once.
    let ended = tokio::spawn(ended);
    let health = bench.looks(|health| health.last_error.is_some()).await;
    let reason = "cannot start /does/not/exist: No such file or directory (os error 2)";
    assert_eq!(health.last_error.as_deref(), Some(reason));
    bench.stops();
    ended.await.expect("no panic").expect("a good end");
}

/// Waits until nobody has this number any more.
async fn is_gone(held: &[Held]) {
    let Value::Double(pid) = held[0].value else { panic!("{held:?}") };
    let pid = Pid::from_raw(pid as i32).expect("a number");
    until("the end of a process", || test_kill_process(pid).is_err().then_some(())).await;
}

#[tokio::test]
async fn a_program_ends_after_its_time_and_what_it_started_with_it() {
    let bench = Bench::unlinked();
    let script = "trap '' TERM HUP INT; sleep 1000 & echo child $!; sleep 1000";
    let life = lives(&bench, script, "interval = \"150ms\"\ntimeout = \"100ms\"");
    let ended = life.await.expect("no panic").expect_err("it took too long");
    assert_eq!(ended.to_string(), "it ran for more than 100ms; raise timeout");
    is_gone(&bench.feeds.held()).await;
}

#[tokio::test]
async fn a_program_ends_with_the_agent_and_what_it_left_behind_ends_with_it() {
    let bench = Bench::unlinked();
    let life = lives(&bench, "echo pid $$; exec sleep 1000", "stream = true");
    let held = bench.gives(|held| !held.is_empty()).await;
    bench.stops();
    life.await.expect("no panic").expect("a good end");
    is_gone(&held).await;

    let bench = Bench::unlinked();
    let life = lives(&bench, "sleep 1000 & echo child $!", "stream = true");
    let ended = life.await.expect("no panic").expect_err("it ended");
    assert_eq!(ended.to_string(), "it exited with code 0; it is to go on printing");
    is_gone(&bench.feeds.held()).await;
}

/// A daemon leaves the group, and may hold the pipe of the program that started it.
#[tokio::test]
async fn whoever_leaves_the_group_and_keeps_the_pipe_holds_nobody_up() {
    let bench = Bench::unlinked();
    let life = lives(&bench, "setsid sleep 60 & echo daemon $!", "interval = \"100ms\"\ntimeout = \"100s\"");
    bench.looks(|health| health.readings >= 2).await;
    let health = bench.health.sources().remove(0);
    assert_eq!((health.failures, health.last_error), (0, None));
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn what_is_no_text_is_refused_and_the_next_line_is_read() {
    let bench = Bench::unlinked();
    let life = lives(&bench, "printf 'a \\377 1\\nlevel 2 m\\n'; exec sleep 60", "stream = true");
    let held = bench.gives(|held| !held.is_empty()).await;
    assert_eq!(named(&held), [("level", "m", Value::Double(2.0))]);
    assert_eq!(bench.counters.get(Event::ProgramLinesRefused), 1);
    let error = bench.health.sources()[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("expected UTF-8"), "{error}");
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_program_inherits_nothing_but_a_path() {
    let bench = Bench::unlinked();
    let script = "echo others $(env | grep -c -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_=); cat; echo input 0";
    let life = lives(&bench, script, "interval = \"100ms\"");
    let held = bench.gives(|held| held.len() == 2).await;
    assert_eq!(named(&held), [("others", "1", Value::Double(0.0)), ("input", "1", Value::Double(0.0))]);
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_flood_of_readings_waits_in_its_pipe_when_the_queue_takes_no_more() {
    let bench = Bench::unlinked();
    let feed = bench.context("exec", "other").feed(device("ups")).expect("a feed");
    let life = lives(&bench, "exec yes 'n 1'", "stream = true");
    // Nothing is acknowledged, so the feed fills up and stays as it is.
    until("a full feed", || (feed.room() <= 1024).then_some(())).await;
    assert!(feed.put_all(&[]).sequences.end <= 4096);
    assert_eq!(bench.counters.get(Event::ReadingsEvicted), 0);
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_flood_of_nonsense_is_counted_and_another_program_goes_on() {
    let bench = Bench::unlinked();
    let flood = lives(&bench, "exec yes 'this is no reading at all'", "stream = true");
    let long = lives(&bench, "exec tr '\\\\0' x < /dev/zero", "stream = true");
    let good = lives(&bench, "echo level 2 m", "interval = \"100ms\"");
    bench.counts(Event::ProgramLinesRefused, u64::from(MAX_RATE)).await;
    let so_far = bench.health.sources()[2].readings;
    bench.looks_at(2, |health| health.readings > so_far).await;
    let error = bench.health.sources()[1].last_error.clone().unwrap_or_default();
    assert!(error.contains("expected at most 1024 bytes a line"), "{error}");
    bench.stops();
    for life in [flood, long, good] {
        life.await.expect("no panic").expect("a good end");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_at_their_place() {
    let refused = |keys| settings("true", keys).err().unwrap_or_default();
    let both = refused("stream = true\ninterval = \"1s\"");
    assert!(both.contains(":5:12: a program with stream = true has no interval and no timeout"), "{both}");
    let short = refused("timeout = \"1ms\"");
    assert!(short.contains(":4:11: got 1ms, expected 100ms or more"), "{short}");
    let empty = Config::of(&Source::new("agent.toml", "[[exec]]\ndevice = \"ups\"\ncommand = []\n"));
    let empty = empty.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(empty.contains("write the program and its arguments"), "{empty}");
}
