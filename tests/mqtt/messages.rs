//! Publishing at each QoS, subscribing, retained messages, wills.

use crate::client::Client;
use crate::order::{Order, Transport};
use crate::stage::Stage;

/// What is published reaches a subscriber as it came, and is in the log with the client's name.
async fn publishes_and_subscribes(client: Client, transport: Transport) {
    let stage = Stage::new().await;
    let Some((mut subscriber, present)) = client.connect(&stage.order(transport, "watcher")).await else { return };
    assert!(!present, "a new client has no session");
    assert_eq!(subscriber.subscribe(2, "plant/+/temperature").await, "1", "a gateway may grant less, and says so");
    let (mut publisher, _) = client.connect(&stage.order(transport, "press 4")).await.unwrap();
    for qos in 0..=2 {
        publisher.publish(qos, false, "plant/press-4/temperature", &format!("21.{qos} °C")).await;
        publisher.publish(qos, false, "plant/press-4/pressure", "not asked for").await;
    }
    let got = subscriber.until_it_got(3).await;
    let mut texts: Vec<_> = got.iter().map(|message| message.text()).collect();
    texts.sort();
    assert_eq!(texts, ["21.0 °C", "21.1 °C", "21.2 °C"]);
    assert!(got.iter().all(|message| message.topic == "plant/press-4/temperature" && !message.retain));
    publisher.disconnect().await;

    let stored = stage.stored().await;
    assert_eq!(stored.len(), 6, "{stored:?}");
    assert!(stored.iter().all(|stored| stored.client == "press 4"), "{stored:?}");
}

async fn publishes_at_each_qos_and_gets_what_it_subscribed_to(client: Client) {
    publishes_and_subscribes(client, Transport::Tcp).await;
}

for_each_client!(publishes_at_each_qos_and_gets_what_it_subscribed_to);

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_js_does_the_same_over_web_socket() {
    for client in Client::ALL.into_iter().filter(|client| client.knows(Transport::WebSocket)) {
        publishes_and_subscribes(client, Transport::WebSocket).await;
    }
}

async fn a_retained_message_meets_who_comes_later_also_after_a_kill(client: Client) {
    let mut stage = Stage::new().await;
    let Some((mut publisher, _)) = client.connect(&Order::new(stage.mqtt, "publisher")).await else { return };
    publisher.publish(1, true, "plant/mode", "night").await;
    publisher.publish(2, true, "plant/speed", "7").await;
    publisher.publish(1, true, "plant/gone", "x").await;
    publisher.publish(1, true, "plant/gone", "").await;
    publisher.disconnect().await;
    stage.kill_gateway().await;

    let (mut late, _) = client.connect(&Order::new(stage.mqtt, "late")).await.unwrap();
    late.subscribe(1, "plant/#").await;
    let got = late.until_it_got(2).await;
    let mut texts: Vec<_> =
        got.iter().map(|message| (message.topic.as_str(), message.text(), message.retain)).collect();
    texts.sort();
    assert_eq!(texts, [("plant/mode", "night".to_owned(), true), ("plant/speed", "7".to_owned(), true)]);
    // Had there been a third, it would have come in front of this.
    late.publish(1, false, "plant/end", "end").await;
    assert_eq!(late.until_it_got(3).await[2].topic, "plant/end");
}

for_each_client!(a_retained_message_meets_who_comes_later_also_after_a_kill);

async fn a_will_speaks_for_who_vanishes_and_not_for_who_says_goodbye(client: Client) {
    let stage = Stage::new().await;
    let Some((mut watcher, _)) = client.connect(&Order::new(stage.mqtt, "watcher")).await else { return };
    watcher.subscribe(1, "plant/wills/#").await;
    let mortal =
        |id: &str| Order { will: Some(format!("1 0 plant/wills/{id} {id} is gone")), ..Order::new(stage.mqtt, id) };
    let (polite, _) = client.connect(&mortal("polite")).await.unwrap();
    polite.disconnect().await;
    let (rude, _) = client.connect(&mortal("rude")).await.unwrap();
    rude.kill().await;
    let got = watcher.until_it_got(1).await;
    assert_eq!((got[0].topic.as_str(), got[0].text()), ("plant/wills/rude", "rude is gone".to_owned()));
}

for_each_client!(a_will_speaks_for_who_vanishes_and_not_for_who_says_goodbye);

async fn a_topic_that_nothing_stores_is_refused(client: Client) {
    let stage = Stage::new().await;
    let Some((mut stranger, _)) = client.connect(&Order::new(stage.mqtt, "stranger")).await else { return };
    if client.is_5() {
        let why = stranger.is_refused(1, "elsewhere/x").await;
        println!("{client:?} says: {why}");
    } else {
        stranger.tell("publish x 1 0 elsewhere/x x").await;
        stranger.until_disconnected().await;
    }
    assert!(stage.stored().await.is_empty());
}

for_each_client!(a_topic_that_nothing_stores_is_refused);
