//! What is proven: a deployment of our own, in which everything can be broken, or one that somebody else runs, of which
//! nothing is ours but the network on the way to it.
//!
//! Either has a relay in front of its entrance, a ledger and a judge. What of a schedule can be done to it the
//! [`Means`](crate::faults::Means) say.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::Prove;
use super::fleet::{FOREIGN, STORE, plans};
use crate::binaries::{Binaries, Plant};
use crate::deployment::{Deployment, Plan};
use crate::faults::{Injector, Means, Schedule};
use crate::ledger::Ledger;
use crate::load::greeting::greet;
use crate::load::{Entrance, Proof, Shape};
use crate::reach::{Attending, Witness};
use crate::reconcile::Report;
use crate::relay::tcp::TcpRelay;
use crate::truth::Truths;

/// Segments of a proof are small, so that some are closed, and there is something to recover.
const TOPICS: &str = "segment = \"1 MiB\"\n";
/// KiB of a board's flash that runs over within a second of so many readings a second, when nobody takes them.
const SMALL_RING: u32 = 16;
const MUCH: u32 = 2000;
/// With TLS whoever comes over MQTT proves who it is, and what it may say there has to be allowed.
const ACCESS: &str = "[access]\nhttp = \"open\"\nkafka = \"open\"\n\n\
                      [[access.rule]]\nclients = \"foreign-*\"\npublish = [\"foreign/#\"]\n";
const PASSWORD: &str = "correct horse";

/// What is proven.
pub(super) struct Stage {
    of: Of,
    /// The network on the way of the fleet.
    network: Arc<TcpRelay>,
}

enum Of {
    Ours(Box<Ours>),
    Theirs(Box<Theirs>),
}

struct Ours {
    deployment: Option<Deployment>,
    /// What agents show, and devices of others.
    proofs: [Proof; 2],
}

struct Theirs {
    /// As it was named.
    typed: String,
    entrance: Entrance,
    ledger: Ledger,
    truths: Truths,
    witness: Option<Witness>,
    attending: Option<Attending>,
    /// There is no deployment to do anything to.
    nothing: Option<Deployment>,
}

impl Stage {
    /// Starts a deployment to which a schedule can be done, and whoever does it.
    pub(super) async fn ours(
        options: &Prove,
        seed: u64,
        (schedule, means): (Schedule, &Means),
        binaries: &Binaries,
    ) -> Result<(Self, Injector)> {
        let mut plan = plan(options, seed);
        let mut injector = Injector::prepare(schedule, means, &mut plan)?;
        let mut deployment = Deployment::prepare(plan, binaries).await?;
        injector.equip(&mut deployment);
        deployment.launch().await?;
        let proofs = proofs(options, seed, &deployment).await?;
        let mqtt = deployment.trust.as_ref().map_or(deployment.mqtt, |trust| trust.mqtts);
        let network = Arc::new(TcpRelay::unobserved(mqtt).await?);
        injector.also(Arc::clone(&network));
        let ours = Ours { deployment: Some(deployment), proofs };
        Ok((Self { of: Of::Ours(Box::new(ours)), network }, injector))
    }

    /// Looks whether a deployment of somebody else lets us in and shows its log, and stands in front of it.
    pub(super) async fn theirs(
        options: &Prove,
        seed: u64,
        schedule: Schedule,
        say: impl Fn(&str),
    ) -> Result<(Self, Injector)> {
        let entrance = options.reach.entrance()?.context("no gateway is named; type --gateway HOST:PORT")?;
        let Some(log) = options.reach.reader()? else {
            bail!("nobody can say what became of readings without the log; type --http HOST:PORT");
        };
        for plan in plans(options, seed) {
            plan.check()?;
            greet(&entrance, &plan).await.context("--gateway")?;
        }
        let witness = Some(Witness::begin(log, options.reach.broker()?, say).await?);
        let network = Arc::new(TcpRelay::unobserved(entrance.mqtt.address()).await?);
        let mut injector = Injector::of_network(schedule)?;
        injector.also(Arc::clone(&network));
        let theirs = Theirs {
            typed: options.reach.gateway.as_ref().map(ToString::to_string).unwrap_or_default(),
            entrance,
            ledger: Ledger::new(),
            truths: Truths::default(),
            witness,
            attending: None,
            nothing: None,
        };
        Ok((Self { of: Of::Theirs(Box::new(theirs)), network }, injector))
    }

    /// What the report says that it was run against.
    pub(super) fn described(&self) -> String {
        match &self.of {
            Of::Ours(_) => "a deployment of its own, started for it".to_owned(),
            Of::Theirs(theirs) => format!("{}, which somebody else runs", theirs.typed),
        }
    }

    /// Where agents come in, and devices of others.
    pub(super) fn entrances(&self) -> Result<[Entrance; 2]> {
        match &self.of {
            Of::Ours(ours) => {
                let deployment = ours.deployment.as_ref().context("the deployment is gone")?;
                let mqtt = match &deployment.trust {
                    Some(trust) => trust.peer(self.network.address)?,
                    None => self.network.address.into(),
                };
                let consumer = Some(deployment.kafka.into());
                let entrance =
                    |proof: &Proof| Entrance { mqtt: mqtt.clone(), proof: proof.clone(), consumer: consumer.clone() };
                Ok(ours.proofs.each_ref().map(entrance))
            }
            Of::Theirs(theirs) => {
                let entrance =
                    Entrance { mqtt: theirs.entrance.mqtt.through(self.network.address), ..theirs.entrance.clone() };
                Ok([entrance.clone(), entrance])
            }
        }
    }

    /// What is promised, and what devices measured.
    pub(super) fn books(&mut self) -> Result<(&Ledger, &mut Truths)> {
        match &mut self.of {
            Of::Ours(ours) => {
                let deployment = ours.deployment.as_mut().context("the deployment is gone")?;
                Ok((&deployment.ledger, &mut deployment.truths))
            }
            Of::Theirs(theirs) => Ok((&theirs.ledger, &mut theirs.truths)),
        }
    }

    /// What faults are done to; nothing of a deployment that is not ours.
    pub(super) fn deployment(&mut self) -> &mut Option<Deployment> {
        match &mut self.of {
            Of::Ours(ours) => &mut ours.deployment,
            Of::Theirs(theirs) => &mut theirs.nothing,
        }
    }

    /// The fleet has begun: a log that is not ours is read from now on, before its retention takes anything.
    pub(super) fn attend(&mut self) {
        if let Of::Theirs(theirs) = &mut self.of {
            theirs.attending = theirs.witness.take().map(|witness| witness.attend(&theirs.truths));
        }
    }

    /// Drains and compares: the verdict, and how much was acknowledged. What is ours ends with it, and is removed if it holds.
    pub(super) async fn judge(self) -> Result<(Report, u64)> {
        let acknowledged = |ledger: &Ledger| ledger.pages().values().map(|facts| facts.gateway_acked.len()).sum();
        match self.of {
            Of::Ours(ours) => {
                let mut deployment = ours.deployment.context("the deployment is gone")?;
                let (report, _) = deployment.drain().await?;
                let acknowledged = acknowledged(&deployment.ledger);
                if report.holds() {
                    deployment.scratch.remove()?;
                }
                Ok((report, acknowledged))
            }
            Of::Theirs(theirs) => {
                let attending = theirs.attending.context("nobody has read the log")?;
                let report = attending.judge(&theirs.ledger, &theirs.truths, std::time::Duration::ZERO).await?;
                Ok((report, acknowledged(&theirs.ledger)))
            }
        }
    }
}

fn plan(options: &Prove, seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.boards = usize::from(options.boards);
    plan.rate = options.board_rate;
    plan.plant = options.plant;
    plan.tls = options.tls;
    plan.topics = TOPICS.to_owned();
    plan.mqtt = STORE.to_owned();
    if options.tls {
        plan.tables = ACCESS.to_owned();
    }
    if options.plant == Some(Plant::LoseLossRecord) {
        // Nothing is lost that nobody had to drop.
        (plan.flash_kib, plan.rate) = (SMALL_RING, plan.rate.max(MUCH));
    }
    plan
}

/// With TLS each agent gets a certificate of its own, and devices of others share a password.
async fn proofs(options: &Prove, seed: u64, deployment: &Deployment) -> Result<[Proof; 2]> {
    let Some(trust) = &deployment.trust else { return Ok([Proof::Nothing, Proof::Nothing]) };
    for plan in plans(options, seed).into_iter().filter(|plan| plan.shape == Shape::Agents) {
        for number in 0..plan.connections {
            trust.certify(&plan.client(number), deployment.scratch.path()).await?;
        }
    }
    trust.admit(FOREIGN, &format!("{FOREIGN}-*"), PASSWORD).await?;
    let file =
        |extension: &str| -> PathBuf { deployment.scratch.join(&format!("{}.{extension}", crate::load::CLIENT)) };
    let login = Proof::Login(FOREIGN.to_owned(), PASSWORD.to_owned());
    Ok([Proof::Certificate(file("pem"), file("key")), login])
}
