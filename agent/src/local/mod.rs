//! The local port: how a running agent is, told to people and programs of its own machine.
//!
//! What it guarantees: nothing here changes anything, waits for a gateway, or holds up a stop; whoever may
//! open the socket may read (mode 0660, in a data directory that only the agent's user enters), and a port that other
//! machines can reach is refused unless the settings say `insecure`.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while everything moves on, else 503 and why, see [`health`] |
//! | `/readyz` | 200 while readings are taken, else 503 and why |
//! | `/metrics` | Prometheus text, see [`metrics`] |
//! | `/status` | everything of [`status`] as one JSON document, which `weir-agent top` shows |
//! | `/settings` | what was written in its settings and by whom, see [`settings`] |
//! | `/tap?device=&channel=&count=` | readings as they pass the rules, as they come, see [`tap`] |
//! | `/version` | name and version |

pub mod ask;
pub mod fuzz;
pub mod health;
pub mod metrics;
mod rates;
pub mod settings;
pub mod status;
mod tap;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_protocol::AgentId;
use weir_protocol::time::WallClock;

use crate::config::{Config, Setting};
use crate::counters::Counters;
use crate::health::Health;
use crate::http::{Answer, Limits, ListenError, Listening, Router, serve};
use crate::processing::Tap;
use crate::queue::Queue;
use crate::remote::Desk;
use rates::Rates;

/// The mode of a socket.
const MODE: u32 = 0o660;

/// What is told.
#[derive(Clone)]
pub struct View {
    /// The agent.
    pub agent: AgentId,
    /// Its queue.
    pub queue: Arc<Queue>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// How the parts are.
    pub health: Arc<Health>,
    /// The time of day.
    pub clock: Arc<dyn WallClock>,
    /// When the agent started.
    pub started: Instant,
    /// Nothing acknowledged for this long although something is to be sent: it does not get on.
    pub progress_timeout: Duration,
    /// Readings as they come by.
    pub tap: Tap,
    /// What was written in the settings, and by whom.
    pub written: Arc<[Setting]>,
    /// The version of the remote settings that the agent runs with.
    pub overlay: Option<u64>,
    /// Whether they are on trial.
    pub desk: Arc<Desk>,
}

/// The local port, open and not served yet.
pub struct Local {
    ports: Vec<Listening>,
}

/// The local port while it is served; dropping it ends it at once.
pub struct Serving {
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
}

impl Local {
    /// Opens what the settings say.
    ///
    /// # Errors
    /// [`ListenError`] for an address that the settings name. Where they name none, the agent does without its socket
    /// and says so: it must run on a disk that cannot be written.
    pub fn open(config: &Config) -> Result<Self, ListenError> {
        let mut ports = Vec::new();
        for address in config.local.addresses(&config.data_dir) {
            match Listening::open(&address, MODE) {
                Ok(port) => {
                    tracing::info!(address = %port.address(), "local port open");
                    ports.push(port);
                }
                Err(error) if config.local.listen.is_none() => {
                    tracing::warn!(%error, "no local port: `weir-agent top` and `tap` cannot ask this agent");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { ports })
    }

    /// Answers with what `view` shows.
    pub fn serve(self, view: &View) -> Serving {
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        let rates = Arc::new(Rates::default());
        let router = router(view, &rates, tap::Listening::new(view.tap.clone(), stopped.clone()));
        if !self.ports.is_empty() {
            tasks.spawn(rates::observe(rates, view.clone(), stopped.clone()));
        }
        for port in self.ports {
            let counters = Arc::clone(&view.counters);
            tasks.spawn(serve(port, router.clone(), Limits::default(), counters, stopped.clone()));
        }
        Serving { stop, tasks }
    }
}

impl Serving {
    /// Ends the ports. Requests under way get a moment.
    pub async fn end(mut self) {
        drop(self.stop);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn router(view: &View, rates: &Arc<Rates>, tap: tap::Listening) -> Router {
    let shows = |answer: fn(&View, &Rates) -> Answer| {
        let (view, rates) = (view.clone(), Arc::clone(rates));
        move |_| ready(answer(&view, &rates))
    };
    Router::default()
        .get("/healthz", shows(|view, _| verdict(&health::stuck(view))))
        .get("/readyz", shows(|view, _| verdict(&health::not_ready(view))))
        .get("/metrics", shows(|view, _| Answer::text(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(view))))
        .get("/status", shows(|view, rates| Answer::json(StatusCode::OK, &status::of(view, rates))))
        .get("/settings", shows(|view, _| Answer::json(StatusCode::OK, &settings::of(view))))
        .get("/tap", move |request| ready(tap.answer(&request)))
        .get("/version", shows(|_, _| version()))
}

/// 200, or 503 and why.
fn verdict(reasons: &[String]) -> Answer {
    let (status, word) = match reasons {
        [] => (StatusCode::OK, "ok"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ok"),
    };
    Answer::json(status, &json!({ "status": word, "reasons": reasons }))
}

fn version() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Answer::json(StatusCode::OK, &json!({ "name": "weir-agent", "version": version }))
}
