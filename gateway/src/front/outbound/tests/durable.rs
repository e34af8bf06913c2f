//! Stories of sessions that outlive their connections.

use super::*;
use crate::access::Settings;
use crate::access::acl::{Rule, Rules};
use crate::delivery::Unfinished;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_the_client_was_away_comes_from_the_log() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    world.publish("site/1/x", numbers(0..10), Properties::default()).await;
    let mut client = world.attach(&kept);
    assert_eq!(client.subscribe(&mut kept, "site/+/x", QoS::AtLeastOnce), [1]);
    world.publish("site/1/x", numbers(10..20), Properties::default()).await;
    assert_eq!(
        payloads(&client.hear_all(10).await),
        numbers(10..20).collect::<Vec<_>>(),
        "nothing from before it came"
    );
    client.detach(&mut kept);
    // Far more than its window, its read and its buffers hold; half of it is for others.
    for first in (20..2020).step_by(100) {
        world.publish("site/1/x", numbers(first..first + 100), Properties::default()).await;
        world.publish("site/1/y", numbers(first..first + 100), Properties::default()).await;
    }
    let mut client = world.attach(&kept);
    let mut all = Vec::new();
    while all.len() < 2000 {
        let got = client.hear(PATIENCE).await;
        assert!(client.outbound.held() < 512 << 10, "{} bytes are held", client.outbound.held());
        client.acknowledge(&got);
        all.extend(got);
    }
    assert_eq!(payloads(&all), numbers(20..2020).collect::<Vec<_>>());
    assert!(all.iter().all(|got| !got.dup));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_out_comes_again_with_its_id_and_after_a_kill_with_another() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/#", QoS::AtLeastOnce);
    world.publish("site/1/x", numbers(0..5), Properties::default()).await;
    let mut out = Vec::new();
    while out.len() < 5 {
        out.extend(client.hear(PATIENCE).await);
    }
    // The one in the middle is acknowledged.
    client.acknowledge(&out[2..3]);
    client.detach(&mut kept);
    let mut again = world.attach(&kept);
    let mut got = Vec::new();
    while got.len() < 4 {
        got.extend(again.hear(PATIENCE).await);
    }
    out.remove(2);
    let expected: Vec<_> = out.iter().cloned().map(|got| Got { dup: true, ..got }).collect();
    assert_eq!(got, expected);
    drop(again);
    // Killed: only what is on disk is left, which ends before what was not acknowledged.
    kept.resumed.unfinished = Unfinished::default();
    let mut after = world.attach(&kept);
    let got = after.hear_all(5).await;
    assert_eq!(payloads(&got), ["0", "1", "2", "3", "4"]);
    assert!(got.iter().all(|got| !got.dup));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_made_while_the_session_reads_from_further_back_begins_when_it_was_made() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/1/x", QoS::AtLeastOnce);
    client.detach(&mut kept);
    world.publish("site/1/x", numbers(0..10), Properties::default()).await;
    world.publish("site/1/y", numbers(0..10), Properties::default()).await;
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/1/y", QoS::AtLeastOnce);
    // Kept over a kill, too.
    drop(client);
    let mut client = world.attach(&kept);
    world.publish("site/1/y", numbers(10..12), Properties::default()).await;
    let got = client.hear_all(12).await;
    let of = |topic: &str| got.iter().filter(|got| got.topic == topic).map(|got| &*got.payload).collect::<Vec<_>>();
    assert_eq!(of("site/1/x"), numbers(0..10).collect::<Vec<_>>());
    assert_eq!(of("site/1/y"), ["10", "11"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_or_too_large_is_passed_over_and_counted() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/#", QoS::AtLeastOnce);
    let gone = Properties { expiry: Some(0), ..Properties::default() };
    let later = Properties { expiry: Some(3600), ..Properties::default() };
    world.publish("site/1/x", ["gone".to_owned()], gone).await;
    world.publish("site/1/x", ["x".repeat(100 << 10)], Properties::default()).await;
    world.publish("site/1/x", ["good".to_owned()], later).await;
    assert_eq!(payloads(&client.hear_all(1).await), ["good"]);
    let counted = world.supply.counters.snapshot();
    assert_eq!((counted.expired, counted.too_large, counted.delivered), (1, 1, 1));
    // They are done: nobody comes back to them.
    client.detach(&mut kept);
    assert!(kept.resumed.unfinished.sent.is_empty());
    let mut client = world.attach(&kept);
    assert!(client.hear(Duration::from_millis(50)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_before_the_client_came_is_counted() {
    let small = IngestOptions { retention: Retention { bytes: Some(16 << 10), age: None }, partitions: 1, ..options() };
    let mut world = World::open(Arc::new(FaultyFs::new(1)), small, LiveOptions::default());
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/#", QoS::AtLeastOnce);
    client.detach(&mut kept);
    for first in (0..2000).step_by(50) {
        world.publish("site/1/x", numbers(first..first + 50), Properties::default()).await;
    }
    let published = 2000;
    let begins_later = async {
        let topics = world.topics().clone();
        let reader = topics.named("messages").unwrap().partitions()[0].reader();
        while reader.start_offset() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, begins_later).await.expect("retention removes segments");
    let mut client = world.attach(&kept);
    let mut got: Vec<u32> = Vec::new();
    while got.last() != Some(&(published - 1)) {
        let heard = client.hear(PATIENCE).await;
        client.acknowledge(&heard);
        got.extend(heard.iter().map(|got| got.payload.parse::<u32>().unwrap()));
    }
    assert!(got.is_sorted());
    let skipped = world.supply.delivery.stats().skipped;
    assert!(skipped > 0);
    assert_eq!(got.len() as u64 + skipped, u64::from(published));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_move_on_over_what_is_for_others() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/1/mine", QoS::AtLeastOnce);
    world.publish("site/1/other", numbers(0..100), Properties::default()).await;
    world.publish("site/1/mine", numbers(0..1), Properties::default()).await;
    client.hear_all(1).await;
    world.publish("site/1/other", numbers(100..200), Properties::default()).await;
    let at_the_end = |client: &mut Client| {
        let positions = client.outbound.positions();
        positions.iter().map(|position| position.offset).sum::<u64>() == 201
    };
    client.unsubscribe(&mut kept, "site/1/none");
    let reached = async {
        while !at_the_end(&mut client) {
            client.hear(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("the positions follow the log");
}

/// The router keeps only so much for a client that takes nothing; the log has the rest, and the switch between them leaves
/// no hole.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_router_drops_of_a_session_that_is_there_comes_from_the_log() {
    let router = LiveOptions { buffer: 1, ..LiveOptions::default() };
    let mut world = World::open(Arc::new(FaultyFs::new(1)), options(), router);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/#", QoS::AtLeastOnce);
    world.publish("site/1/x", numbers(0..1), Properties::default()).await;
    client.hear_all(1).await;
    // It listens to the router by now, and takes nothing while another one hears all.
    let mut quick = world.connect(None);
    quick.subscribe(&mut Kept::default(), "site/#", QoS::AtMostOnce);
    for number in 1..300 {
        world.publish("site/1/x", numbers(number..number + 1), Properties::default()).await;
        quick.hear_all(1).await;
    }
    assert_eq!(payloads(&client.hear_all(299).await), numbers(1..300).collect::<Vec<_>>());
}

/// A session kept what it had subscribed to, and brought it whatever the rules had become.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_on_brings_nothing_that_the_rules_do_not_allow_any_more() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    for filter in ["site/#", "site/1/x"] {
        assert_eq!(client.subscribe(&mut kept, filter, QoS::AtLeastOnce), [1]);
    }
    client.detach(&mut kept);
    world.publish("site/1/secret", numbers(0..10), Properties::default()).await;
    world.publish("site/1/x", numbers(0..1), Properties::default()).await;
    let allowed = |filter: &str| {
        let rule = Rule::new("view", &[], &[filter]).unwrap();
        let access = Access::open();
        access.reload(Settings { rules: Rules::enforced(vec![rule]), ..Settings::open() });
        access
    };
    let mut client = world.connect_as(Some(kept.resumed()), allowed("site/1/x"), 20);
    world.publish("site/1/secret", numbers(10..20), Properties::default()).await;
    world.publish("site/1/x", numbers(1..2), Properties::default()).await;
    let got = client.hear_all(2).await;
    assert_eq!(got.iter().map(|got| &*got.topic).collect::<Vec<_>>(), ["site/1/x"; 2]);
    // It can be ended, and once the rules allow it again it is there again, from then on.
    client.unsubscribe(&mut kept, "site/1/x");
    client.detach(&mut kept);
    let mut client = world.connect_as(Some(kept.resumed()), allowed("site/#"), 20);
    world.publish("site/1/secret", numbers(20..21), Properties::default()).await;
    assert_eq!(payloads(&client.hear_all(1).await), ["20"]);
    client.unsubscribe(&mut kept, "site/#");
    assert!(kept.subscriptions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_a_smaller_window_gets_no_more_again_than_it_takes() {
    let mut world = World::start(1);
    let mut kept = Kept::default();
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, "site/#", QoS::AtLeastOnce);
    world.publish("site/1/x", numbers(0..10), Properties::default()).await;
    let mut out = Vec::new();
    while out.len() < 10 {
        out.extend(client.hear(PATIENCE).await);
    }
    client.detach(&mut kept);
    world.publish("site/1/x", numbers(10..15), Properties::default()).await;
    let mut client = world.connect_as(Some(kept.resumed()), Access::open(), 3);
    let mut all = Vec::new();
    while all.len() < 15 {
        let mut got = Vec::new();
        while client.outbound.takes(0) {
            got.extend(client.hear(PATIENCE).await);
        }
        assert!(!got.is_empty() && got.len() <= 3, "{} at a time", got.len());
        client.acknowledge(&got);
        all.extend(got);
    }
    assert_eq!(payloads(&all), numbers(0..15).collect::<Vec<_>>());
    assert!(all.iter().all(|got| got.dup == (got.payload.parse::<u32>().unwrap() < 10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_catch_up_take_turns_at_the_disk() {
    const SESSIONS: usize = 40;
    let mut world = World::start(1);
    world.publish("site/1/x", numbers(0..1), Properties::default()).await;
    let mut behind = Kept::default();
    world.attach(&behind).subscribe(&mut behind, "site/#", QoS::AtLeastOnce);
    world.publish("site/1/x", numbers(1..100), Properties::default()).await;
    let one_at_a_time = DeliveryOptions { reads: 1, ..DeliveryOptions::default() };
    let topics = world.topics().clone();
    let delivery = Delivery::new(topics, world.ingest.stores().clone(), world.live.clone(), one_at_a_time);
    world.supply = supply(delivery);
    let mut clients: Vec<Client> = (0..SESSIONS).map(|_| world.attach(&behind)).collect();
    let all = clients.iter_mut().map(|client| client.hear_all(99));
    for got in futures_util::future::join_all(all).await {
        assert_eq!(payloads(&got), numbers(1..100).collect::<Vec<_>>());
    }
    let stats = world.supply.delivery.stats();
    assert!(stats.waited > 0 && stats.waited <= stats.reads, "{stats:?}");
}
