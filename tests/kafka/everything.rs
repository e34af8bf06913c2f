//! Each client consumes all that is stored, and replays it from a moment on.

use crate::client::Client;
use crate::order::Order;
use crate::stage::{READINGS, Stage};

async fn consumes_everything_and_replays_from_a_moment_on(client: Client) {
    let stage = Stage::full().await;
    let Some(all) = client.start(stage.kafka, &Order::records(READINGS)) else { return };
    stage.expect(&all.finish().await, READINGS);

    // Sequences are sampled at the same times on every device, so the last tenth of the time is that of the readings.
    let tenth = READINGS / 10;
    let moment = stage.time_of_last(tenth);
    let order = Order { at: Some(format!("time:{}", moment.0 / 1000)), ..Order::records(tenth) };
    let taken = client.start(stage.kafka, &order).unwrap().finish().await;
    stage.expect(&taken, tenth);
    stage.expect_no_earlier(&taken, moment);
}

for_each_client!(consumes_everything_and_replays_from_a_moment_on);
