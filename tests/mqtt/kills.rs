//! What is acknowledged is in the log, over kills of the gateway; at QoS 2 once.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::seed;

use crate::client::Client;
use crate::order::Order;
use crate::stage::Stage;

/// Messages between two kills.
const BURST: u64 = 300;
/// Kills, if `WEIR_KILLS` does not say how many; `cargo lab soak mqtt-kills` has a hundred.
const KILLS: u64 = 3;
/// The longest time that a gateway lives once messages are under way.
const LIFE: Duration = Duration::from_millis(400);

async fn what_is_acknowledged_is_in_the_log(client: Client, qos: u8) {
    let mut random = StdRng::seed_from_u64(seed());
    let mut stage = Stage::new().await;
    let Some((mut publisher, _)) = client.connect(&Order::durable(stage.mqtt, "publisher")).await else { return };
    let kills = std::env::var("WEIR_KILLS").map_or(KILLS, |kills| kills.parse().expect("WEIR_KILLS=100"));
    for burst in 0..kills {
        publisher.tell(&format!("flood {qos} plant/count {} {BURST}", burst * BURST)).await;
        // Somewhere within the burst, or shortly behind it.
        let upto = burst * BURST + random.random_range(0..BURST);
        publisher.until_it_published(upto as usize).await;
        tokio::time::sleep(random.random_range(Duration::ZERO..LIFE) / 20).await;
        stage.kill_gateway().await;
    }
    publisher.until_it_published((kills * BURST) as usize).await;
    let times = stage.times().await;
    for number in 0..kills * BURST {
        let found = times.get(&number.to_string()).copied().unwrap_or_default();
        let is_right = if qos == 2 { found == 1 } else { found >= 1 };
        assert!(is_right, "{client:?}: message {number} at QoS {qos} is {found} times in the log");
    }
}

async fn at_qos_1_nothing_acknowledged_is_lost(client: Client) {
    what_is_acknowledged_is_in_the_log(client, 1).await;
}

async fn at_qos_2_nothing_is_lost_and_nothing_doubled(client: Client) {
    what_is_acknowledged_is_in_the_log(client, 2).await;
}

for_each_client!(at_qos_1_nothing_acknowledged_is_lost, at_qos_2_nothing_is_lost_and_nothing_doubled);
