//! Each client consumes all that is stored, and replays it from a moment on.

use crate::client::Client;
use crate::event::places;
use crate::order::Order;
use crate::stage::{READINGS, Stage};

async fn consumes_everything_and_replays_from_a_moment_on(client: Client) {
    let stage = Stage::full().await;
    let Some(running) = client.start(stage.kafka, &Order::records(READINGS)) else { return };
    let all = running.finish().await;
    stage.expect(&all, READINGS);

    let moment = stage.time_of_last(READINGS / 10);
    let expected = stage.replay(&all, moment);
    let at = Some(format!("time:{}", moment.0 / 1000));
    let order = Order { at, ..Order::records(expected.len() as u64) };
    let replayed = client.start(stage.kafka, &order).unwrap().finish().await;
    assert_eq!(places(&replayed), expected);
}

for_each_client!(consumes_everything_and_replays_from_a_moment_on);
