//! Sessions that outlive their connection, and the gateway.

use crate::client::Client;
use crate::order::Order;
use crate::stage::Stage;

/// Messages that are published while a subscriber is away.
const AWAY: usize = 500;

async fn who_was_away_gets_what_it_missed_from_disk(client: Client) {
    let mut stage = Stage::new().await;
    let order = Order::durable(stage.mqtt, "archive");
    let Some((mut archive, present)) = client.connect(&order).await else { return };
    assert!(!present, "a new client has no session");
    archive.subscribe(1, "plant/#").await;
    let (mut publisher, _) = client.connect(&Order::new(stage.mqtt, "publisher")).await.unwrap();
    publisher.publish(1, false, "plant/count", "first").await;
    archive.until_it_got(1).await;
    archive.kill().await;

    publisher.tell(&format!("flood 1 plant/count 0 {AWAY}")).await;
    publisher.until_it_published(AWAY + 1).await;
    publisher.disconnect().await;
    stage.kill_gateway().await;

    let (mut archive, present) = client.connect(&order).await.unwrap();
    assert!(present, "the gateway has its session");
    let last = (AWAY - 1).to_string();
    archive.until(|it, _| it.messages.last().is_some_and(|message| message.text() == last).then_some(())).await;
    // MQTT.js heeds no Receive Maximum: a flood of it is sent away with 0x93 and published again, so that the log itself
    // has its beginning twice.
    let mut texts = Vec::new();
    for text in archive.messages.iter().map(|message| message.text()).filter(|text| text != "first") {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    assert_eq!(texts, (0..AWAY).map(|number| number.to_string()).collect::<Vec<_>>());
}

for_each_client!(who_was_away_gets_what_it_missed_from_disk);

async fn a_session_goes_on_when_the_gateway_is_killed_under_it(client: Client) {
    let mut stage = Stage::new().await;
    let Some((mut archive, _)) = client.connect(&Order::durable(stage.mqtt, "archive")).await else { return };
    archive.subscribe(1, "plant/#").await;
    let (mut publisher, _) = client.connect(&Order::durable(stage.mqtt, "publisher")).await.unwrap();
    publisher.publish(1, false, "plant/count", "before").await;
    archive.until_it_got(1).await;
    stage.kill_gateway().await;
    assert!(archive.until_connected().await, "the gateway has its session");
    publisher.until_connected().await;
    publisher.publish(2, false, "plant/count", "after").await;
    archive.until(|it, _| it.messages.last().is_some_and(|message| message.text() == "after").then_some(())).await;
}

for_each_client!(a_session_goes_on_when_the_gateway_is_killed_under_it);
