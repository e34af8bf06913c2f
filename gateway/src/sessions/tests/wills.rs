//! Wills: once, not before their time, and not if the client comes back.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;

struct Running {
    sessions: Sessions,
    told: Told,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn new(fs: &FaultyFs) -> Self {
        let (sessions, told, (stop, stopping)) = (start(fs), Told::new(), watch::channel(false));
        let task = tokio::spawn(sessions.clone().run(told.clone(), stopping));
        Self { sessions, told, stop, task }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.send(true).expect("it listens");
        self.task.await.expect("ends");
        self.sessions.stop();
        self.told.wills()
    }
}

/// Lets others go on, without time passing.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_sends_its_will_and_a_goodbye_does_not() {
    let running = Running::new(&FaultyFs::new(1));
    let clients = [("passing", with_will(0, clean(0))), ("durable", with_will(0, connect(60)))];
    for (before, (name, wants)) in clients.into_iter().enumerate() {
        attach(&running.sessions, name, wants.clone()).await.session.detach(GOODBYE);
        settle().await;
        assert_eq!(running.told.wills().len(), before, "{name}");
        drop(attach(&running.sessions, name, wants).await);
        running.told.came.notified().await;
    }
    // A session that ends with its connection has no time to wait for.
    drop(attach(&running.sessions, "hurried", with_will(100, clean(0))).await);
    running.told.came.notified().await;
    assert_eq!(running.stop().await, ["passing gone", "durable gone", "hurried gone"]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_and_a_client_that_comes_back_takes_it_with_it() {
    let running = Running::new(&FaultyFs::new(1));
    let wants = || with_will(30, connect(3600));
    drop(attach(&running.sessions, "pump", wants()).await);
    sleep(Duration::from_secs(29)).await;
    assert_eq!(running.sessions.stats().wills_waiting, 1);
    let session = attach(&running.sessions, "pump", wants()).await.session;
    sleep(Duration::from_secs(60)).await;
    assert!(running.told.wills().is_empty(), "it came back");
    drop(session);
    sleep(Duration::from_secs(31)).await;
    assert_eq!(running.told.wills(), ["pump gone"]);
    sleep(Duration::from_secs(4000)).await;
    assert_eq!(running.stop().await, ["pump gone"], "once");
}

#[tokio::test(start_paused = true)]
async fn a_will_does_not_wait_longer_than_its_session_lasts() {
    let running = Running::new(&FaultyFs::new(1));
    drop(attach(&running.sessions, "ends", with_will(3600, connect(20))).await);
    sleep(Duration::from_secs(19)).await;
    assert!(running.told.wills().is_empty());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(running.told.wills(), ["ends gone"]);
    assert_eq!(running.sessions.stats().durable, 0);
    // A clean start ends the session, and so does an operator.
    drop(attach(&running.sessions, "cleaned", with_will(3600, connect(7200))).await);
    drop(attach(&running.sessions, "cleaned", clean(7200)).await);
    running.told.came.notified().await;
    drop(attach(&running.sessions, "deleted", with_will(3600, connect(7200))).await);
    assert_eq!(running.sessions.delete(&key("deleted")).await, Ok(true));
    settle().await;
    assert_eq!(running.stop().await, ["ends gone", "cleaned gone", "deleted gone"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_the_will_of_a_durable_session_counts_from_the_restart() {
    let fs = FaultyFs::new(1);
    let running = Running::new(&fs);
    for name in ["away", "back"] {
        std::mem::forget(attach(&running.sessions, name, with_will(30, connect(3600))).await.session);
    }
    let killed = fs.power_cut();
    running.task.abort();

    let running = Running::new(&killed);
    advance(Duration::from_secs(29)).await;
    settle().await;
    assert!(running.told.wills().is_empty());
    let back = attach(&running.sessions, "back", connect(3600)).await;
    assert!(back.present);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(running.told.wills(), ["away gone"]);
    sleep(Duration::from_secs(10)).await;
    drop(back);
    assert_eq!(running.stop().await, ["away gone"]);
    let running = Running::new(&killed.power_cut());
    sleep(Duration::from_secs(60)).await;
    assert!(running.stop().await.is_empty(), "what was published is not published again");
}

/// A clean start, or an operator, ends a session whose will waits for its delay: the session is on disk until the will is out.
#[tokio::test(start_paused = true)]
async fn the_will_of_a_session_that_is_ended_early_survives_a_kill() {
    for is_deleted in [false, true] {
        let fs = FaultyFs::new(1);
        // Nobody publishes wills here: the kill comes before that.
        let sessions = start(&fs);
        drop(attach(&sessions, "pump", with_will(3600, connect(7200))).await);
        let ending = tokio::spawn(async move {
            match is_deleted {
                true => drop(sessions.delete(&key("pump")).await),
                false => drop(sessions.attach(&identity("pump"), Version::V5, &clean(0)).await),
            }
        });
        settle().await;
        assert!(!ending.is_finished(), "it waits for the will");
        let killed = fs.power_cut();
        ending.abort();

        let running = Running::new(&killed);
        sleep(Duration::from_secs(3601)).await;
        assert_eq!(running.told.wills(), ["pump gone"], "deleted: {is_deleted}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_will_cannot_go_out_ends_all_the_same() {
    let running = Running::new(&FaultyFs::new(1));
    *running.told.answers.lock().expect("not poisoned") = vec![Published::Later, Published::Stored];
    drop(attach(&running.sessions, "pump", with_will(3600, connect(7200))).await);
    assert!(!attach(&running.sessions, "pump", clean(0)).await.present);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(running.sessions.stats().wills_published, 1);
    assert_eq!(running.stop().await, ["pump gone", "pump gone"], "tried again");
}

#[tokio::test(start_paused = true)]
async fn a_will_that_cannot_be_published_is_tried_again_and_one_that_nothing_stores_is_not() {
    let running = Running::new(&FaultyFs::new(1));
    *running.told.answers.lock().expect("not poisoned") =
        vec![Published::Later, Published::Stored, Published::Later, Published::Stored, Published::Refused];
    drop(attach(&running.sessions, "durable", with_will(0, connect(3600))).await);
    sleep(Duration::from_secs(6)).await;
    drop(attach(&running.sessions, "passing", with_will(0, clean(0))).await);
    sleep(Duration::from_secs(6)).await;
    drop(attach(&running.sessions, "nowhere", with_will(0, connect(3600))).await);
    sleep(Duration::from_secs(60)).await;
    let stats = running.sessions.stats();
    assert_eq!((stats.wills_published, stats.wills_refused, stats.wills_waiting), (2, 1, 0));
    let twice = |name| [format!("{name} gone"), format!("{name} gone")];
    assert_eq!(running.stop().await, [&twice("durable")[..], &twice("passing"), &["nowhere gone".to_owned()]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_never_let_in_leaves_no_will() {
    let fs = FaultyFs::new(1);
    let running = Running::new(&fs);
    fs.fail_once(weir_storage::fs::Fault::Sync);
    let wants = with_will(0, connect(3600));
    let refused = running.sessions.attach(&identity("pump"), Version::V5, &wants).await;
    assert_eq!(refused.err(), Some(Refused::NotWritten));
    settle().await;
    assert!(!attach(&running.sessions, "pump", connect(3600)).await.present, "nor a session");
    assert!(running.stop().await.is_empty());
}
