//! How long a gateway with many durable sessions takes to open them, how much memory that takes, and how fast sessions
//! begin and go on.
//!
//! `cargo bench -p weir-gateway --bench sessions [-- COUNT [DIRECTORY]]`: COUNT clients attach, subscribe to two filters, and
//! go; it ends without a stop, as a kill does, and a new process opens what is there and has all of them come back. The
//! reference of both rates is the disk's own: as many commits one after the other, of one client each. The page cache is
//! warm. A report, not a gate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use weir_gateway::access::{ClientId, Identity, Proof};
use weir_gateway::delivery::{Position, Positions, Subscription};
use weir_gateway::mqtt::packet::{Connect, Filter, QoS, RetainHandling, Version};
use weir_gateway::sessions::{Opened, Options, Sessions};
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;
use weir_storage::RealFs;

/// Clients that attach at the same time.
const TOGETHER: usize = 256;
/// Clients that attach one after the other.
const ALONE: usize = 300;
/// Tells a child what it is to do.
const CHILD: &str = "WEIR_BENCH_CHILD";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let count: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let given = arguments.next().map(std::path::PathBuf::from);
    if std::env::var_os(CHILD).is_some() {
        return child(&given.expect("a directory"), count);
    }
    let scratch = tempfile::tempdir_in(given.unwrap_or_else(std::env::temp_dir)).expect("a directory");
    for round in ["begin", "come back", "come back"] {
        println!("{count} sessions {round}");
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.arg(count.to_string()).arg(scratch.path()).env(CHILD, round);
        assert!(child.status().expect("runs").success(), "{round}");
    }
}

fn child(data: &Path, count: usize) {
    let (began, before) = (Instant::now(), resident_kib());
    let opened = Opened::open(&(Arc::new(RealFs) as Arc<dyn weir_storage::Fs>), data).expect("opens");
    let options = Options { sessions: 2 * count + ALONE, ..Options::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let sessions = Sessions::new(opened, options, &SystemClock, Box::new(rand::random));
        let known = sessions.stats().durable.max(1);
        println!(
            "  {:>8.3} s to open, {} sessions, {} B of memory each",
            began.elapsed().as_secs_f64(),
            sessions.stats().durable,
            (resident_kib() - before) * 1024 / known,
        );
        let alone = timed(&sessions, 0..ALONE, 1, "alone").await;
        let together = timed(&sessions, 0..count, TOGETHER, "pump").await;
        println!("  {alone:>8.0} a second one after the other, {together:.0} a second {TOGETHER} at a time");
    });
    // Without a stop, as a kill does.
    std::process::exit(0);
}

/// Has clients attach, subscribe and go; how many of them in a second.
async fn timed(sessions: &Sessions, clients: std::ops::Range<usize>, together: usize, name: &'static str) -> f64 {
    let (began, count) = (Instant::now(), clients.len());
    let mut running = tokio::task::JoinSet::new();
    for client in clients {
        if running.len() >= together {
            running.join_next().await.expect("one runs").expect("ends");
        }
        let sessions = sessions.clone();
        running.spawn(async move { connection(&sessions, &format!("{name}-{client}")).await });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("ends");
    }
    count as f64 / began.elapsed().as_secs_f64()
}

async fn connection(sessions: &Sessions, name: &str) {
    let client = ClientId::new(name).expect("a client id");
    let identity = Identity { tenant: Tenant::DEFAULT, client, proof: Proof::Nothing };
    let mut session = sessions.attach(&identity, Version::V5, &connect()).await.expect("attaches").session;
    for filter in [format!("site/{name}/#"), "broadcast/+".to_owned()] {
        if session.state.subscriptions.get(&filter).is_none() {
            session.subscribe(subscription(filter)).expect("room");
        }
    }
    let at = |partition| Position { topic: "messages".into(), partition, offset: 42 };
    session.state.positions = Positions::from_iter((0..4).map(at));
    if let Some(written) = session.flush() {
        written.await.expect("written");
    }
}

fn connect() -> Connect {
    Connect {
        client_id: String::new(),
        clean_start: false,
        keep_alive: 0,
        session_expiry: 86_400,
        receive_maximum: 100,
        max_packet: u32::MAX,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        username: None,
        password: None,
        will: None,
    }
}

fn subscription(filter: String) -> Subscription {
    let filter = Filter {
        filter,
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    };
    Subscription { filter, identifier: None, since: Positions::default() }
}

/// The memory that this process has now, from /proc/self/status.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
