//! `[[process]]`: what rules make of readings, at a gateway that judges how descriptions change.

use serde_json::json;

use crate::stage::Stage;

/// Rules once gave what they made the ids of what it was made of: summaries of `power` stood under the id of `oven`, and
/// kelvins under that of degrees Celsius. The gateway took that for a channel that changes its unit, and a new owner's
/// first rule ended in dead letters `unit-changed`.
#[tokio::test(flavor = "multi_thread")]
async fn what_rules_convert_and_summarise_is_in_the_log_beside_what_they_leave_alone() {
    let printed = "oven 21.5 Cel\nroom 20 Cel\npower 1500 W\ncount 7 1\ndoor true\n";
    let sources = format!(
        "[[exec]]\ndevice = \"meter-1\"\ncommand = [\"/usr/bin/printf\", {printed:?}]\ninterval = \"100ms\"\n\n\
         [[process]]\nchannel = \"room\"\nunit = \"K\"\n\n\
         [[process]]\nchannel = \"power\"\nunit = \"kW\"\nwindow = \"300ms\"\ntake = [\"max\", \"mean\", \"count\"]\n\n\
         [[process]]\nchannel = \"door\"\nwindow = \"100ms\"\ntake = [\"last\"]\n\n\
         [[process]]\nchannel = \"count\"\nrename = \"turns\"\n"
    );
    let stage = Stage::start(&sources).await;
    let expected = [
        ("oven", "Cel", json!(21.5)),
        ("room", "K", json!(293.15)),
        ("power.max", "kW", json!(1.5)),
        ("power.mean", "kW", json!(1.5)),
        ("door.last", "1", json!(true)),
        ("turns", "1", json!(7)),
    ];
    stage.expect("meter-1", &expected).await;
    let counts = |readings: &[crate::stage::Reading]| readings.iter().any(|reading| reading.channel == "power.count");
    stage.until("how many there were", "meter-1", counts).await;
    assert_eq!(stage.dead_letters().await, 0);
    stage.end().await;
}
