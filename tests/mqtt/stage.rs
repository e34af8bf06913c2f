//! A gateway of its own for each story, and what is stored in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weir_lab::deployment::{Aim, Deployment, Plan, Target};
use weir_tests::{binaries, plan};

use crate::order::{Order, Transport};

/// What clients may publish: everything below `plant/`, into the topic `messages`.
pub(crate) const STORE: &str = "[[mqtt.store]]\nfilter = \"plant/#\"\n";

/// A running gateway.
pub(crate) struct Stage {
    /// The deployment; its agent and its boards are not started.
    pub(crate) deployment: Deployment,
    /// Where the gateway speaks MQTT.
    pub(crate) mqtt: SocketAddr,
    /// Where it speaks HTTP, and MQTT over WebSocket.
    pub(crate) http: SocketAddr,
}

/// A message as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The client that published it.
    pub(crate) client: String,
    /// The MQTT topic.
    pub(crate) topic: String,
    /// The payload.
    pub(crate) text: String,
}

impl Stage {
    /// A gateway with nothing in it that stores `plant/#`.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same, with a plan that is changed first.
    pub(crate) async fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let plan = plan(|plan| {
            plan.boards = 0;
            plan.mqtt = STORE.to_owned();
            change(plan);
        });
        let mut deployment = Deployment::prepare(plan, binaries()).await.unwrap();
        deployment.gateway.start().unwrap();
        deployment.wait_for_gateway().await.unwrap();
        Self::of(deployment)
    }

    /// A gateway that runs already.
    pub(crate) fn of(deployment: Deployment) -> Self {
        Self { mqtt: deployment.mqtt, http: deployment.http, deployment }
    }

    /// A client that comes by `transport`.
    pub(crate) fn order(&self, transport: Transport, id: &str) -> Order {
        let address = if transport == Transport::WebSocket { self.http } else { self.mqtt };
        Order { transport, ..Order::new(address, id) }
    }

    /// `kill -9`, and up again.
    pub(crate) async fn kill_gateway(&mut self) {
        self.deployment.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
        self.deployment.wait_for_gateway().await.unwrap();
    }

    /// Everything in the topic `messages`, partition by partition.
    pub(crate) async fn stored(&self) -> Vec<Stored> {
        let mut all = Vec::new();
        for (_, partition) in self.partitions().await {
            let mut offset = 0;
            loop {
                let path = format!("/topics/messages/partitions/{partition}/records?offset={offset}&limit=1000");
                let page: serde_json::Value =
                    serde_json::from_str(&self.deployment.log.text(&path).await.unwrap()).unwrap();
                let records = page["records"].as_array().unwrap();
                let Some(last) = records.last() else { break };
                offset = last["offset"].as_u64().unwrap() + 1;
                all.extend(records.iter().map(|record| Stored {
                    client: record["key"].as_str().unwrap().to_owned(),
                    topic: record["value"]["topic"].as_str().unwrap().to_owned(),
                    text: record["value"]["payload"].as_str().unwrap_or_default().to_owned(),
                }));
            }
        }
        all
    }

    async fn partitions(&self) -> Vec<(String, u32)> {
        let starts = self.deployment.log.starts().await.unwrap();
        starts.into_keys().filter(|(topic, _)| topic == "messages").collect()
    }

    /// How often each text stands in the log.
    pub(crate) async fn times(&self) -> BTreeMap<String, u32> {
        let mut times = BTreeMap::new();
        for stored in self.stored().await {
            *times.entry(stored.text).or_default() += 1;
        }
        times
    }
}
