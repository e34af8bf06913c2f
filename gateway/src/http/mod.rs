//! HTTP: the topics as JSON, the tail as server-sent events, and what operators ask.
//!
//! What it guarantees: only committed records are served; nothing here can delay a commit; requests, headers,
//! pages and waiting readers are bounded; a bad request is 400 with what to type. Each path needs a role ([`permits`]), which a
//! token gives (`Authorization: Bearer weir_..`); where the door is open, everybody has every role ([`guard`]). The commands
//! of this machine come through a socket instead ([`socket`]).
//!
//! | path | answer |
//! |---|---|
//! | `/topics`, `/topics/{topic}` | topics with partitions and offsets |
//! | `/topics/{topic}/partitions/{p}/records?offset=\|time=&limit=` | a [`page`] of records |
//! | `/topics/{topic}/tail?offset=&partition=` | server-sent events, see [`tail`] |
//! | `/devices?after=&limit=`, `/devices/{device}` | devices by name; latest values, restarts and counts of one, as the read model has them |
//! | `/groups`, `/groups/{group}`, `POST .../reset`, `POST .../commit`, `DELETE` | groups of consumers, see [`groups`] |
//! | `/sessions?after=&limit=`, `/sessions/{tenant}/{client}`, `DELETE` | sessions of MQTT clients, see [`sessions`] |
//! | `/status` | agents, whether they are connected, and what they last said of themselves |
//! | `/healthz`, `/readyz` | whether the process lives; whether it takes batches. All that is answered while the logs are read |
//! | `/metrics` | Prometheus text, see [`metrics`] |
//! | `/deadletters/{partition}`, `POST /deadletters/redrive` | dead letters and what became of them; trying them again, see [`dead_letters`] |
//! | `POST /devices/{device}/owner` | binds a device to an agent, see [`owners`] |
//! | `/subjects`, `/schemas`, `/config`, `/mode`, `/contexts` | the schemas of the topics, see [`registry`] |
//! | `POST /enroll`, `POST /renew` | certificates of devices, see [`enroll`] |
//! | `/mqtt` | MQTT over WebSocket, see [`websocket`] |
//! | `/access/users`, `/access/tokens` | users of MQTT and tokens, see [`credentials`] |
//! | `POST /ca`, `/ca/certificates/{tenant}/{client}`, `/ca/serials/{serial}` | the gateway's own authority, see [`authority`] |
//! | `/version` | name, version, and the instance: which start of the gateway this is |

pub mod authority;
mod credentials;
mod dead_letters;
pub mod enroll;
pub mod fuzz;
pub(crate) mod groups;
mod guard;
pub mod metrics;
mod owners;
pub mod page;
mod permits;
mod posted;
mod registry;
mod routes;
mod serve;
pub mod sessions;
mod socket;
pub(crate) mod stall;
pub mod tail;
pub mod websocket;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use weir_protocol::Tenant;

use crate::access::Access;
use crate::groups::Groups;
use crate::ingest::Ingest;
use crate::model::Model;
use crate::redrive::Redrive;
use crate::sessions::Sessions;
use crate::topics::Topics;
use authority::Authority;
use websocket::WebSockets;

pub use routes::{router, starting};
pub use serve::{HttpOptions, Peer, serve};
pub(crate) use socket::NAME as SOCKET;
pub use socket::{Socket, SocketError};

/// What the HTTP port serves.
#[derive(Clone)]
pub struct App {
    /// The logs.
    pub topics: Topics,
    /// What stores.
    pub ingest: Ingest,
    /// What tries dead letters again.
    pub redrive: Redrive,
    /// Groups of consumers.
    pub groups: Groups,
    /// Sessions of MQTT clients.
    pub sessions: Sessions,
    /// Who may ask what.
    pub access: Access,
    /// What certifies clients.
    pub authority: Authority,
    /// The rest of the gateway.
    pub gateway: Arc<dyn Gateway>,
    /// Where MQTT over WebSocket goes.
    pub websockets: WebSockets,
    /// Turns true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

/// What HTTP asks of the gateway beyond its logs.
pub trait Gateway: Send + Sync {
    /// Why batches are not taken now; `None` if they are.
    fn not_ready(&self) -> Option<String>;
    /// The answer of `/status`, about the agents of `tenant` alone if there is one.
    fn status(&self, tenant: Option<Tenant>) -> Value;
    /// The answer of `/version`.
    fn version(&self) -> Value;
    /// The read model; `None` while there is none.
    fn model(&self) -> Option<Arc<Model>>;
    /// Writes the metrics.
    fn metrics(&self, out: &mut metrics::Text);
}
