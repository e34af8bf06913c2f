//! Results under power cuts: the ledger that owes them, the courier that brings them and the queue, on one disk.
//!
//! A life of the agent owes results, its own device samples beside them, and the power goes at any moment. What must hold
//! in the end: a result that was owed on disk is in the queue, once; no identity stands for two readings; and what results
//! are told under is never said to have ended with an unknown tail, or to have lost something.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use weir_agent::config::Config;
use weir_agent::counters::Counters;
use weir_agent::health::Health;
use weir_agent::intake::Intake;
use weir_agent::intake::task::Task;
use weir_agent::queue::records::Found;
use weir_agent::queue::{ClassId, Incarnation, Queue, QueueOptions};
use weir_agent::remote::keys::SecretKey;
use weir_agent::remote::ledger::Ledger;
use weir_agent::remote::outcome::About;
use weir_agent::remote::{Desk, Hooks};
use weir_agent::source::Context;
use weir_agent::source::feed::{Feeds, Sample};
use weir_agent::uplink::orders::Orders;
use weir_protocol::batch::Section;
use weir_protocol::settings::Source;
use weir_protocol::{DeviceId, Restart, Value};
use weir_storage::{FaultyFs, Fs, ReadError};

use crate::seeds::for_each_seed;
use crate::support::wait::until;
use crate::support::{StoppedClock, clocks};

const AGENT: &str = "edge-1";
/// A life on a disk that will lose its power is cut off after this, if it has not told everything by then.
const LIFE: Duration = Duration::from_secs(30);

/// What was owed, and whether that is certainly on disk.
type Owed = BTreeMap<String, bool>;

fn config() -> Config {
    let dir = tempfile::tempdir().expect("a directory");
    let key = SecretKey::generate(&dir.path().join("key")).expect("a key");
    let settings = format!("name = \"{AGENT}\"\n[remote]\ntrust = [\"{}\"]\n", key.public());
    Config::of(&Source::new("file", settings.as_str())).unwrap_or_else(|error| panic!("{error}"))
}

/// One life on a disk, which works or will lose its power; what results were told under.
async fn life(disk: &FaultyFs, works: bool, random: &mut StdRng, owed: &mut Owed, owes: usize) -> Option<Vec<Restart>> {
    let (fs, counters): (Arc<dyn Fs>, _) = (Arc::new(disk.clone()), Arc::new(Counters::default()));
    let restart = Restart::from_agent(random.random());
    let desk = Arc::new(Desk::open(&fs, Path::new("/agent"), restart, Arc::clone(&counters)).ok()?);
    let options = QueueOptions { cap: 1 << 20, ..QueueOptions::default() };
    let (queue, _) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(random.random())).ok()?;
    let (queue, config, device) = (Arc::new(queue), config(), crate::support::device(AGENT));
    let hooks = Hooks {
        orders: Orders::none(Arc::clone(&counters)),
        desk: Arc::clone(&desk),
        current: watch::channel(Arc::new(config.clone())).0,
    };
    let (clock, rules) = (Arc::new(StoppedClock), StdRng::seed_from_u64(random.random()));
    let intake = Intake::new(queue.state(), queue.policies(), clock, rules, Arc::clone(&counters))
        .with_own(device, hooks.restarts());
    let (task, handle, _) = Task::new(intake, queue, Arc::clone(&counters), Arc::default());
    let task = tokio::spawn(task.run());
    let (health, (stop, stopped)) = (Health::default(), watch::channel(()));
    let context = Context {
        feeds: Feeds::new(handle, StdRng::seed_from_u64(random.random())),
        clocks: clocks(|| true),
        counters,
        report: health.source("remote", AGENT),
        stop: stopped,
    };
    let feed = context.feed(device).expect("a feed");
    let courier = tokio::spawn(hooks.source(&config).expect("somebody is trusted").live(context.clone()));
    let under = hooks.restarts();
    for _ in 0..owes {
        let headline = format!("c-{} exited 0", owed.len());
        let detail = "x".repeat(random.random_range(0..400));
        let (told, about) = (headline.clone(), About::Command);
        let owe = move |ledger: &mut Ledger, desk: &Desk| desk.owe(ledger, about, told, &detail);
        owed.insert(headline, desk.change(owe).is_ok());
        let (value, at) = (Value::Integer(owed.len() as i64), context.now());
        feed.put(&Sample { name: "load", unit: "1", resolution: 0.0, value, at }).expect("it is taken");
        if random.random_bool(0.3) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
        }
    }
    let told = || (courier.is_finished() || desk.look(|ledger| ledger.owed().is_none())).then_some(());
    let told = until("every result is told", told);
    // The clock stands for the threads that commit, and does not wait for them.
    if works {
        told.await;
    } else {
        let _ = tokio::time::timeout(LIFE, told).await;
    }
    // Killed, wherever it is.
    courier.abort();
    task.abort();
    let _ = (courier.await, task.await);
    context.feeds.shutdown().await;
    drop(stop);
    Some(under)
}

/// The texts of results by the restart and the sequence that they have, and what else is said of restarts.
fn found(disk: &FaultyFs) -> (BTreeMap<(Restart, u64), String>, Vec<Restart>) {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (queue, _) = Queue::open(&fs, Path::new("/agent"), QueueOptions::default(), Incarnation(1)).expect("it opens");
    let (mut texts, mut gone) = (BTreeMap::new(), Vec::new());
    let mut note = |section: &Section<'_>| match section {
        Section::Readings(run) => {
            for item in run.iter() {
                let (sequence, reading) = item.expect("a good reading");
                let Value::Text(text) = reading.value else { continue };
                assert_eq!(run.device, DeviceId(weir_protocol::AgentId::new(AGENT).expect("a name").0));
                let before = texts.insert((run.restart, sequence.0), text.to_owned());
                assert_eq!(before, None, "{} {} twice", run.restart, sequence.0);
            }
        }
        Section::End(end) => gone.push(end.restart),
        Section::Claim(claim) => gone.push(claim.restart),
        other => panic!("{other:?}"),
    };
    let walked = queue.log(ClassId::DEFAULT).walk(0..u64::MAX, |next| -> Result<(), ReadError> {
        let Found::Entry(entry) = next else { panic!("an unreadable record") };
        note(&entry.section);
        Ok(())
    });
    walked.expect("a readable queue");
    queue.state().lock().claims.sections(usize::MAX).iter().for_each(note);
    (texts, gone)
}

/// Regression: a result came again, under another identity, if the agent was killed between the commit of the queue and
/// the ledger's note of it.
#[test]
fn a_result_that_is_owed_is_told_once_whenever_the_power_goes() {
    for_each_seed("a_result_that_is_owed", 60, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut disk, mut owed, mut under) = (FaultyFs::new(seed), Owed::new(), Vec::new());
            for _ in 0..5 {
                disk.fail_power_after(random.random_range(1..120));
                let owes = random.random_range(0..5);
                under.extend(life(&disk, false, &mut random, &mut owed, owes).await.into_iter().flatten());
                disk = disk.power_cut();
            }
            under.extend(life(&disk, true, &mut random, &mut owed, 1).await.expect("a disk that works"));
            let (texts, gone) = found(&disk.power_cut());
            for (headline, is_certain) in owed {
                let told = texts.values().filter(|text| **text == headline).count();
                let expected = if is_certain { 1..=1 } else { 0..=1 };
                assert!(expected.contains(&told), "{headline} is told {told} times, expected {expected:?}");
            }
            assert!(gone.iter().all(|restart| !under.contains(restart)), "{gone:?} of {under:?}");
        });
    });
}
