//! Whatever clients ask for, what they hold is bounded.

use super::*;

#[tokio::test]
async fn one_session_too_many_is_refused_and_those_that_are_there_go_on() {
    let options = Options { sessions: 2, ..Options::default() };
    let sessions = start_with(&FaultyFs::new(1), options, NOW_MS);
    let attached = attach(&sessions, "a", connect(60)).await;
    drop(attach(&sessions, "b", connect(60)).await);
    let refused = sessions.attach(&identity("c"), Version::V5, &connect(60)).await;
    assert_eq!(refused.err(), Some(Refused::Full));
    assert!(!attach(&sessions, "c", connect(0)).await.present, "one that ends with its connection takes no place");
    assert!(attach(&sessions, "b", connect(60)).await.present);
    assert!(!attach(&sessions, "b", clean(60)).await.present, "a clean start takes the place of what it ends");
    assert_eq!((sessions.stats().durable, sessions.stats().refused), (2, 1));
    attached.session.detach(End { will: false, expiry: Some(0) });
    assert!(!attach(&sessions, "a", connect(0)).await.present, "it is over, whoever has looked");
    drop(attach(&sessions, "c", connect(60)).await);
}

#[tokio::test]
async fn subscriptions_and_wills_take_no_more_bytes_than_allowed() {
    let options = Options { session_bytes: 3000, sessions_bytes: 4000, ..Options::default() };
    let sessions = start_with(&FaultyFs::new(1), options, NOW_MS);
    let long = |letter: &str| subscription(&letter.repeat(1500));
    let mut first = attach(&sessions, "a", connect(60)).await.session;
    assert_eq!(first.subscribe(long("x")), Ok(true));
    assert_eq!(first.subscribe(long("y")), Err(Full), "more than a session may have");
    assert_eq!(first.subscribe(long("x")), Ok(false), "in the place of another it takes no more");
    assert_eq!(filters(&first).len(), 1);
    let mut second = attach(&sessions, "b", connect(60)).await.session;
    assert_eq!(second.subscribe(long("x")), Err(Full), "more than all may have");
    assert_eq!(sessions.stats().refused, 2);
    first.unsubscribe(&"x".repeat(1500));
    first.save();
    drop(first);
    assert_eq!(second.subscribe(long("x")), Ok(true));

    let mut large = with_will(0, connect(60));
    if let Some(will) = &mut large.will {
        will.payload = vec![0; 3000].into();
    }
    assert_eq!(sessions.attach(&identity("a"), Version::V5, &large).await.err(), Some(Refused::Full));
}

#[tokio::test]
async fn packet_ids_that_are_open_are_bounded() {
    let options = Options { open_ids: 2, ..Options::default() };
    let sessions = start_with(&FaultyFs::new(1), options, NOW_MS);
    for connect in [connect(60), clean(0)] {
        let mut session = attach(&sessions, "a", connect).await.session;
        assert!(session.begin(1).is_ok() && session.begin(2).is_ok());
        assert_eq!(session.begin(3), Err(Full));
        assert!(!session.begin(2).expect("it is open").is_new);
        session.release(1);
        assert!(session.begin(3).expect("room").is_new);
    }
}

#[tokio::test]
async fn the_numbers_of_clients_without_a_session_are_bounded_and_one_that_was_forgotten_begins_a_new_restart() {
    let fs = FaultyFs::new(1);
    let options = Options { sessions: 2, ..Options::default() };
    let sessions = start_with(&fs, options, NOW_MS);
    let mut given = Vec::new();
    for name in ["a", "b", "c"] {
        let mut session = attach(&sessions, name, connect(60)).await.session;
        given.push(session.begin(1).expect("room").identity.expect("durable"));
        flush(&mut session).await.expect("written");
        session.detach(End { will: false, expiry: Some(0) });
        assert_eq!(sessions.delete(&key(name)).await, Ok(true));
    }
    sessions.sweep();
    sessions.stop();
    let sessions = start_with(&fs.power_cut(), options, NOW_MS);
    for (name, before, is_known) in [("a", given[0], false), ("b", given[1], true), ("c", given[2], true)] {
        let mut session = attach(&sessions, name, connect(60)).await.session;
        let (restart, sequence) = session.begin(1).expect("room").identity.expect("durable");
        assert_eq!(restart == before.0, is_known, "{name}");
        assert_eq!(sequence.0, if is_known { before.1.0 + 1 } else { 0 });
        session.detach(End { will: false, expiry: Some(0) });
        assert_eq!(sessions.delete(&key(name)).await, Ok(true));
    }
}

#[tokio::test]
async fn wills_that_wait_to_be_published_are_bounded() {
    let options = Options { will_bytes: 400, ..Options::default() };
    let sessions = start_with(&FaultyFs::new(1), options, NOW_MS);
    for name in ["a", "b", "c", "d"] {
        attach(&sessions, name, with_will(0, clean(0))).await.session.detach(LOST);
    }
    let stats = sessions.stats();
    assert!(stats.wills_waiting > 0 && stats.wills_dropped > 0, "{stats:?}");
    assert_eq!(stats.wills_waiting + stats.wills_dropped, 4);
}
