//! `weir-lab load`: drives a load, says each second how it goes, and judges the log at its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::greeting::greet;
use super::verdict::{self, Told};
use super::{Load, LoadPlan, Pattern, Second, Shape, Version};
use crate::ledger::Ledger;
use crate::reach::{Reach, Witness};
use crate::truth::Truths;
use crate::up::duration;

/// How long devices of a slow drip rest, unless --rate says otherwise.
const DRIP_S: f64 = 60.0;
/// How often the time is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Drives devices by the thousand, open loop, and proves with a ledger that nothing acknowledged is missing
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    cargo lab up                                  # in another terminal: prints the addresses\n  \
    cargo lab load --gateway 127.0.0.1:1883 --http 127.0.0.1:8080 --kafka 127.0.0.1:9092\n  \
    cargo lab load --gateway 127.0.0.1:1883 --pattern storm --every 5s --devices 10000 --connections 5000 --for 1m\n  \
    cargo lab load --gateway mqtts://gateway.example:8883 --ca ca.pem --login fleet:PASSWORD   # over TLS\n  \
    cargo lab load --gateway 127.0.0.1:1883 --shape foreign --devices 500 --rate 2000 --output json > load.json")]
pub struct LoadOptions {
    #[command(flatten)]
    reach: Reach,
    /// As what devices come
    #[arg(long, value_enum, default_value = "agents")]
    shape: Shape,
    /// When their readings are due
    #[arg(long, value_enum, default_value = "steady")]
    pattern: PatternName,
    /// From burst to burst, or from cut to cut
    #[arg(long, value_parser = duration, default_value = "10s")]
    every: Duration,
    /// How many devices, 1 to 100000 [default: 1000; boards: 2]
    #[arg(long)]
    devices: Option<u32>,
    /// Over how many connections, 1 to 16000, at most one a device [default: 100, or as many as devices]
    #[arg(long)]
    connections: Option<u32>,
    /// Readings a second, of all devices together [default: 10000; drip: one a minute each; boards: 20 each]
    #[arg(long)]
    rate: Option<f64>,
    /// How long readings are due
    #[arg(long = "for", value_parser = duration, default_value = "30s")]
    lasting: Duration,
    /// The most readings of an agent's batch
    #[arg(long, default_value_t = 500)]
    batch: u32,
    /// How long an agent collects readings for a batch
    #[arg(long, value_parser = duration, default_value = "200ms")]
    gather: Duration,
    /// Messages under way on one connection
    #[arg(long, default_value_t = 20)]
    window: u16,
    /// Version of MQTT
    #[arg(long, value_enum, default_value = "5")]
    mqtt: Version,
    /// What names of devices and clients begin with; two loads at a time need two
    #[arg(long, default_value = "load")]
    name: String,
    /// A reading acknowledged so long after it was due is late
    #[arg(long, value_parser = duration, default_value = "10s")]
    late: Duration,
    /// At the end: how long no acknowledgement may come although some are missing
    #[arg(long, value_parser = duration, default_value = "30s")]
    settle: Duration,
    /// Seed of values and waits [default: random]
    #[arg(long, env = "WEIR_SEED")]
    seed: Option<u64>,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PatternName {
    /// Evenly, each device in a phase of its own
    Steady,
    /// All at once, each so often
    Burst,
    /// Evenly, while all connections are cut at once, each so often
    Storm,
    /// Each device once a minute or less
    Drip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// A JSON object a line: each second, and the whole at the end
    Json,
}

impl LoadOptions {
    fn plan(&self) -> LoadPlan {
        let devices = self.devices.unwrap_or(if self.shape == Shape::Boards { 2 } else { 1000 });
        let usual = match (self.shape, self.pattern) {
            (_, PatternName::Drip) => f64::from(devices) / DRIP_S,
            (Shape::Boards, _) => f64::from(devices) * 20.0,
            _ => 10_000.0,
        };
        let pattern = match self.pattern {
            PatternName::Steady => Pattern::Steady,
            PatternName::Burst => Pattern::Burst { every: self.every },
            PatternName::Storm => Pattern::Storm { every: self.every },
            PatternName::Drip => Pattern::Drip,
        };
        LoadPlan {
            shape: self.shape,
            pattern,
            devices,
            connections: self.connections.unwrap_or(devices.min(100)),
            rate: self.rate.unwrap_or(usual),
            name: self.name.clone(),
            batch: self.batch,
            gather: self.gather,
            window: self.window,
            version: self.mqtt,
            late: self.late,
            ..LoadPlan::new(self.seed.unwrap_or_else(|| rand::random::<u32>().into()))
        }
    }
}

/// Drives it. `true`: everything that was due is acknowledged, and the log holds it.
pub async fn run(options: &LoadOptions) -> Result<bool> {
    let plan = options.plan();
    plan.check()?;
    let entrance = match (options.reach.entrance()?, plan.shape) {
        (Some(entrance), Shape::Boards) => entrance,
        (Some(entrance), Shape::Agents | Shape::Foreign) => {
            greet(&entrance, &plan).await?;
            entrance
        }
        // Boards reach it through an agent.
        (None, Shape::Boards) => SocketAddr::from(([127, 0, 0, 1], crate::ports::MQTT)).into(),
        (None, Shape::Agents | Shape::Foreign) => bail!(
            "no gateway is named; `cargo lab up` starts one and prints its addresses, then type: \
             cargo lab load --gateway 127.0.0.1:1883 --http 127.0.0.1:8080"
        ),
    };
    let (ledger, mut truths) = (Ledger::new(), Truths::default());
    let witness = match options.reach.reader()? {
        Some(log) => {
            let say = |line: &str| eprintln!("{line}");
            Some(Witness::begin(log, options.reach.broker()?, say).await?)
        }
        None => None,
    };
    match plan.shape {
        Shape::Boards => eprintln!("{} boards, seed {} ...", plan.devices, plan.seed),
        _ => {
            let LoadPlan { devices, connections, seed, .. } = &plan;
            eprintln!(
                "{devices} devices over {connections} connections to {}, seed {seed} ...",
                entrance.mqtt.address()
            );
        }
    }
    let started = Load::start(plan.clone(), entrance, ledger.clone(), &mut truths).await;
    let mut load = started.map_err(|error| {
        let help = hint(&plan, &format!("{error:#}"));
        anyhow::anyhow!("{error:#}{help}")
    })?;
    let witness = witness.map(|witness| witness.attend(&truths));
    if let Some(restart) = load.restart() {
        eprintln!("restart {restart} of every device; readings are due from now on");
    } else {
        eprintln!("readings are due from now on; settings of the agent that takes them:\n");
        load.serial().iter().for_each(|path| eprintln!("[[serial]]\npath = {:?}\n", path.display().to_string()));
    }
    watch(options, &load).await?;
    let settled = load.settle(options.settle).await;
    if let Err(error) = &settled {
        eprintln!("weir-lab: {error:#}{}", hint(&plan, &load.reasons()));
        if plan.shape == Shape::Boards && load.seen().counts.acknowledged == 0 {
            eprintln!("no agent reads the boards; start one with the [[serial]] settings above");
        }
    }
    let outcome = load.finish().await;
    let report = match witness {
        Some(witness) => {
            eprintln!("reading the log ...");
            let patience = if plan.shape == Shape::Boards { options.settle } else { Duration::ZERO };
            Some(witness.judge(&ledger, &truths, patience).await?)
        }
        None => None,
    };
    let told = Told { plan: &plan, outcome: &outcome, report: report.as_ref() };
    match options.output {
        Output::Text => verdict::print(&told),
        Output::Json => println!("{}", verdict::json(&told)),
    }
    Ok(settled.is_ok() && report.is_none_or(|report| report.holds()))
}

/// Prints a line a second until the time is over, or until Ctrl-C or SIGTERM.
async fn watch(options: &LoadOptions, load: &Load) -> Result<()> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (begun, mut printed) = (Instant::now(), 0);
    while begun.elapsed() < options.lasting {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            () = tokio::time::sleep(LOOK.min(options.lasting.saturating_sub(begun.elapsed()))) => {}
        }
        for second in load.seconds(printed) {
            printed = second.second + 1;
            print(options.output, &second)?;
        }
    }
    Ok(())
}

fn print(output: Output, second: &Second) -> Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string(second)?),
        Output::Text => println!("{second}"),
    }
    Ok(())
}

/// What helps against a refusal that does not go away by itself.
fn hint(plan: &LoadPlan, reasons: &str) -> String {
    let known = [
        ("PUBACK 0x90", format!("; let the gateway store the messages: [[mqtt.store]] filter = \"{}/#\"", plan.name)),
        ("CONNACK 0x97", format!("; let the gateway take more: mqtt.connections = {}", plan.connections + 100)),
        ("Connection refused", "; is the gateway there? `cargo lab up` starts one".to_owned()),
        ("PUBACK 0x97", "; the gateway is at a bound of its [limits]; its log names it".to_owned()),
        ("CONNACK 0x87", "; type --login USER:PASSWORD of a user that `weir-gateway user add --mqtt` made".to_owned()),
    ];
    let found = known.into_iter().find(|(reason, _)| reasons.contains(reason));
    found.map_or_else(String::new, |(_, hint)| hint)
}
