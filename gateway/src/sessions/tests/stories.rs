//! What a client finds when it comes back.

use tokio::time::advance;
use weir_protocol::Sequence;
use weir_storage::Batch;

use super::record::Part;
use super::*;
use crate::delivery::Position;

#[tokio::test]
async fn a_durable_session_is_there_after_a_power_cut_and_another_is_not() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let Attached { mut session, present, .. } = attach(&sessions, "pump", connect(3600)).await;
    assert!(!present && session.is_durable());
    assert_eq!(session.subscribe(subscription("a/+")), Ok(true));
    assert_eq!(session.subscribe(subscription("b")), Ok(true));
    assert_eq!(session.subscribe(subscription("b")), Ok(false));
    assert!(session.unsubscribe("a/+"));
    let begun = session.begin(7).expect("room");
    flush(&mut session).await.expect("written");
    let mut passing = attach(&sessions, "viewer", clean(0)).await.session;
    passing.subscribe(subscription("c")).expect("room");
    assert!(passing.flush().is_none(), "nothing of it is written");

    let sessions = start(&fs.power_cut());
    let Attached { mut session, present, .. } = attach(&sessions, "pump", connect(3600)).await;
    assert!(present);
    assert_eq!(filters(&session), ["b"]);
    let again = session.begin(7).expect("room");
    assert_eq!((begun.is_new, again.is_new), (true, false));
    assert_eq!(begun.identity, again.identity, "a message keeps its identity");
    assert!(!attach(&sessions, "viewer", connect(0)).await.present);
}

#[tokio::test]
async fn a_released_packet_id_is_free_and_its_sequence_is_never_given_again() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    let first = session.begin(1).expect("room").identity.expect("durable");
    flush(&mut session).await.expect("written");
    assert!(session.release(1) && !session.release(1));
    flush(&mut session).await.expect("written");

    let fs = fs.power_cut();
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    assert_eq!(session.open_ids(), 0);
    let second = session.begin(1).expect("room");
    assert!(second.is_new);
    assert_eq!(second.identity.expect("durable"), (first.0, Sequence(first.1.0 + 1)));
    flush(&mut session).await.expect("written");

    // A clean start forgets the packet id, and not that its sequence was given.
    drop(session);
    let sessions = start(&fs.power_cut());
    let Attached { mut session, present, .. } = attach(&sessions, "pump", clean(3600)).await;
    assert!(!present);
    let third = session.begin(1).expect("room");
    assert!(third.is_new);
    assert_eq!(third.identity.expect("durable"), (first.0, Sequence(first.1.0 + 2)));
}

#[tokio::test]
async fn a_session_that_was_ended_by_a_clean_start_does_not_come_back() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    session.subscribe(subscription("a")).expect("room");
    session.begin(1).expect("room");
    flush(&mut session).await.expect("written");
    session.detach(GOODBYE);
    assert!(!attach(&sessions, "pump", clean(0)).await.present);
    let sessions = start(&fs.power_cut());
    let Attached { session, present, .. } = attach(&sessions, "pump", connect(3600)).await;
    assert!(!present);
    assert_eq!((filters(&session).len(), session.open_ids()), (0, 0));
}

#[tokio::test]
async fn a_new_connection_waits_until_the_one_before_it_has_let_go_and_takes_what_it_did() {
    let sessions = start(&FaultyFs::new(1));
    let Attached { mut session, taken, .. } = attach(&sessions, "pump", connect(3600)).await;
    let old = async {
        assert_eq!(taken.await, Ok(Taken::Over));
        // It was about to do this.
        session.subscribe(subscription("late")).expect("room");
        session.begin(5).expect("room");
        drop(session);
    };
    let (attached, ()) = tokio::join!(attach(&sessions, "pump", connect(3600)), old);
    assert!(attached.present);
    assert_eq!((filters(&attached.session), attached.session.open_ids()), (vec!["late".to_owned()], 1));
    assert_eq!(sessions.stats().taken_over, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_let_go_keeps_the_new_one_out() {
    let sessions = start(&FaultyFs::new(1));
    let held = attach(&sessions, "pump", connect(3600)).await;
    let refused = sessions.attach(&identity("pump"), Version::V5, &connect(3600)).await;
    assert_eq!(refused.err(), Some(Refused::Busy));
    drop(held);
    assert!(attach(&sessions, "pump", connect(3600)).await.present);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_its_time_is_over_and_its_time_goes_on_over_a_restart() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    for (name, expiry) in [("short", 60), ("long", 600), ("ever", u32::MAX), ("attached", 100)] {
        let mut session = attach(&sessions, name, connect(expiry)).await.session;
        session.subscribe(subscription(name)).expect("room");
        flush(&mut session).await.expect("written");
        if name == "attached" {
            // A kill finds it connected.
            std::mem::forget(session);
        }
    }
    advance(Duration::from_secs(61)).await;
    assert!(!attach(&sessions, "short", connect(60)).await.present, "nobody has looked yet, and it is over");
    // Whatever is detached last is the newest thing that the disk knows.
    drop(attach(&sessions, "other", connect(10_000)).await);
    flush(&mut attach(&sessions, "other", connect(10_000)).await.session).await.expect("written");

    let fs = fs.power_cut();
    let sessions = start_with(&fs, Options::default(), NOW_MS + 61_000 + 90_000);
    assert!(attach(&sessions, "attached", connect(100)).await.present, "it counts from the restart");
    assert!(attach(&sessions, "long", connect(600)).await.present);
    // 61 s and 90 s away, and so long again.
    let sessions = start_with(&fs.power_cut(), Options::default(), NOW_MS + 61_000 + 90_000 + 1_000_000);
    assert!(!attach(&sessions, "short", connect(60)).await.present);
    assert!(attach(&sessions, "ever", connect(60)).await.present);
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_leaves_nothing_on_the_disk_but_the_numbers_it_has_given() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(10)).await.session;
    session.subscribe(subscription("a")).expect("room");
    let first = session.begin(1).expect("room").identity.expect("durable");
    flush(&mut session).await.expect("written");
    session.detach(GOODBYE);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(sessions.clone().run(Told::new(), stopping));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(sessions.stats().expired, 1);
    assert_eq!((sessions.stats().durable, sessions.stats().bytes), (0, 0));
    stop.send(true).expect("it listens");
    running.await.expect("ends");
    sessions.stop();

    let sessions = start(&fs.power_cut());
    assert!(sessions.list(None, None, 10).is_empty());
    let mut session = attach(&sessions, "pump", connect(10)).await.session;
    let next = session.begin(1).expect("room").identity.expect("durable");
    assert_eq!(next, (first.0, Sequence(first.1.0 + 1)));
}

#[tokio::test]
async fn whoever_may_see_one_tenant_sees_its_sessions_alone() {
    let sessions = start(&FaultyFs::new(1));
    let tenants = ["acme", "default", "plant"].map(|name| name.parse::<Tenant>().expect("a tenant"));
    let mut attached = Vec::new();
    for tenant in tenants {
        for name in ["one", "two"] {
            let identity = Identity { tenant, ..identity(name) };
            attached.push(sessions.attach(&identity, Version::V5, &clean(0)).await.expect("a session"));
        }
    }
    let seen = |tenant, after: Option<&Key>| {
        sessions.list(tenant, after, 10).iter().map(|view| view.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(seen(None, None).len(), 6);
    for tenant in tenants {
        assert_eq!(seen(Some(tenant), None), [format!("{tenant}/one"), format!("{tenant}/two")]);
    }
    let one = Key { tenant: tenants[1], ..key("one") };
    assert_eq!(seen(Some(tenants[1]), Some(&one)), ["default/two"]);
    assert_eq!(seen(Some(tenants[2]), Some(&one)), ["plant/one", "plant/two"]);
    assert!(seen(Some(tenants[0]), Some(&one)).is_empty());
}

#[tokio::test]
async fn an_operator_deletes_a_session_and_its_client_is_sent_away() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let Attached { session, taken, .. } = attach(&sessions, "pump", connect(3600)).await;
    let client = async {
        assert_eq!(taken.await, Ok(Taken::Deleted));
        drop(session);
    };
    let pump = key("pump");
    let (deleted, ()) = tokio::join!(sessions.delete(&pump), client);
    assert_eq!(deleted, Ok(true));
    assert_eq!(sessions.delete(&pump).await, Ok(false));
    let sessions = start(&fs.power_cut());
    assert!(!attach(&sessions, "pump", connect(3600)).await.present);
}

#[tokio::test]
async fn positions_are_on_the_disk_soon_after_they_moved() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    let at = |offset| Positions::from_iter([Position { topic: "messages".into(), partition: 0, offset }]);
    session.state.positions = at(5);
    session.save();
    flush(&mut session).await.expect("written");
    session.state.positions = at(9);
    drop(session);
    sessions.stop();
    let sessions = start(&fs.power_cut());
    assert_eq!(attach(&sessions, "pump", connect(3600)).await.session.state.positions, at(9));
}

#[tokio::test]
async fn what_could_not_be_written_is_refused_and_is_written_when_the_client_comes_back() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    session.begin(1).expect("room");
    flush(&mut session).await.expect("written");
    fs.fail_once(weir_storage::fs::Fault::Sync);
    assert!(session.release(1));
    let begun = session.begin(2).expect("room");
    assert_eq!(flush(&mut session).await, Err(NotWritten));
    assert_eq!(flush(&mut session).await, Err(NotWritten), "nothing after it counts on this connection");
    drop(session);

    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    assert!(!session.release(1), "it was released, and now the disk knows");
    assert_eq!(session.begin(2).expect("room"), Begun { is_new: false, ..begun });
    let sessions = start(&fs.power_cut());
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    assert_eq!((session.open_ids(), session.begin(2).expect("room").identity), (1, begun.identity));
}

/// What a session left behind when the end of it was only half on the disk belongs to no later session: a packet id would
/// swallow another message.
#[tokio::test]
async fn what_an_earlier_session_left_behind_is_not_the_next_ones_and_goes() {
    let fs = FaultyFs::new(1);
    let sessions = start(&fs);
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    session.begin(1).expect("room");
    flush(&mut session).await.expect("written");
    // Of an earlier session, whose number was another.
    let (mut batch, mut name, mut value) = (Batch::new(), Vec::new(), Vec::new());
    record::encode_key(&key("pump"), &Part::OpenId(2), &mut name);
    record::open_id::encode(12, 34, &mut value);
    batch.push(NOW_MS, Some(&name), Some(&value), &[]).expect("small");
    record::encode_key(&key("pump"), &Part::Subscription("old".into()), &mut name);
    record::subscription::encode(12, &subscription("old"), &mut value);
    batch.push(NOW_MS, Some(&name), Some(&value), &[]).expect("small");
    let (told, hear) = tokio::sync::oneshot::channel();
    let done = move |written: Result<_, _>| told.send(written).expect("waited for");
    sessions.shared.log.submit(batch, done).unwrap_or_else(crate::keyed_log::Refused::tell);
    hear.await.expect("told").expect("written");

    let fs = fs.power_cut();
    let sessions = start(&fs);
    sessions.sweep();
    let mut session = attach(&sessions, "pump", connect(3600)).await.session;
    assert!(filters(&session).is_empty());
    assert!(session.begin(2).expect("room").is_new && !session.begin(1).expect("room").is_new);
    sessions.stop();
    let read = Opened::open(&(Arc::new(fs.power_cut()) as Arc<dyn Fs>), Path::new("/data")).expect("opens");
    assert_eq!(read.leftovers(), 0, "the disk has been told");
}
