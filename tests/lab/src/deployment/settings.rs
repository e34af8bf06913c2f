//! The settings files of agent and gateway, as a person would write them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{AGENT, plan::Plan};

/// How long the agent may go on shipping; below [`super::DRAIN`], so that it says itself when that is too short.
const AGENT_DRAIN: &str = "50s";

/// A path or a name as a TOML string.
fn quoted(text: impl std::fmt::Display) -> String {
    format!("{:?}", text.to_string())
}

/// The gateway's settings; it listens on `mqtt`, `http` and `kafka`, and with TLS on `mqtts`.
pub(super) fn gateway(
    data: &Path,
    [mqtt, http, kafka]: [SocketAddr; 3],
    mqtts: Option<SocketAddr>,
    plan: &Plan,
) -> String {
    let Plan { topics, kafka: of_kafka, mqtt: of_mqtt, tables, .. } = plan;
    let data = quoted(data.display());
    let [mqtt, http, kafka] = [mqtt, http, kafka].map(quoted);
    let tls_listen = mqtts.map_or_else(String::new, |mqtts| format!("tls_listen = {}\n", quoted(mqtts)));
    let tls = mqtts.is_some();
    format!(
        "data = {data}\n\n[mqtt]\nlisten = {mqtt}\n{tls_listen}{of_mqtt}\n[http]\nlisten = {http}\ntls = {tls}\n\n[topics]\n{topics}\n\
         [kafka]\nlisten = {kafka}\n{of_kafka}\n{tables}"
    )
}

/// The agent's settings. What a person waits for at the end of a run is shorter than the defaults.
pub(super) fn agent(data: &Path, gateway: &str, serial: &[PathBuf], plan: &Plan) -> String {
    let mut text = format!(
        "name = {}\ndata_dir = {}\ndrain = {}\n\n\
         [queue]\ncap = {}\npolicy = {}\n\n\
         [uplink]\naddress = {}\nbackoff_min = \"100ms\"\nbackoff_max = \"1s\"\nbacklog_delay = \"100ms\"\nack_timeout = \"5s\"\n\n\
         [system]\nenabled = {}\ndevice = \"this-machine\"\ninterval = \"1s\"\n",
        quoted(AGENT),
        quoted(data.display()),
        quoted(AGENT_DRAIN),
        quoted(&plan.queue),
        quoted(plan.policy),
        quoted(gateway),
        plan.system,
    );
    for path in serial {
        text += &format!("\n[[serial]]\npath = {}\npoll = \"100ms\"\n", quoted(path.display()));
    }
    text + "\n" + &plan.sources
}
