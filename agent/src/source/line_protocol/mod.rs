//! InfluxDB line protocol over HTTP: a port that Telegraf and others push to as if this were an InfluxDB.
//!
//! What it guarantees: **204 means on disk here**; a line that cannot be read is named and takes no other with it; a
//! queue without room is a 503 with `Retry-After`, and evicts nothing; connections, bodies packed and unpacked, the
//! time to send them, devices and channels are bounded; from other machines it is reached with TLS and a token, unless the
//! settings say that it need not be.

mod body;
mod collectd;
pub mod fuzz;
mod line;
mod plain;
mod port;
mod settings;
mod write;

use std::path::Path;
use std::sync::Arc;

use weir_protocol::DeviceId;

use super::context::Context;
use super::supervise::LifeError;
use crate::http::{self, Limits, Listening, Tls};

pub use line::{Field, Line, Naming, Precision};
pub use settings::LineProtocolConfig;
pub use write::{Outcome, Refused, Writer};

/// A socket is for this machine's users that are in the agent's group.
const SOCKET_MODE: u32 = 0o660;

/// Listens until the source must stop. `machine` is the device of lines that name none.
///
/// # Errors
/// The port cannot be opened, or the token or the certificate cannot be read.
pub async fn run(config: LineProtocolConfig, machine: DeviceId, context: Context) -> Result<(), LifeError> {
    let token = config.token_file.as_deref().map(token).transpose()?;
    let tls = config.certificate.as_ref().zip(config.key.as_ref());
    let tls = tls.map(|(certificate, key)| Tls::open(certificate.get_ref(), key.get_ref())).transpose()?;
    let listening = Listening::open(config.listen.get_ref(), SOCKET_MODE)?.with_tls(tls);
    tracing::info!(address = %listening.address(), "line protocol: listening");
    context.report.running();
    let naming = Naming {
        device_tag: config.device_tag.clone(),
        device: config.device.unwrap_or(machine),
        tags: config.tags.clone(),
    };
    let writer = Writer::new(&config, naming, context.clone());
    let most = config.body.get_ref().0 as usize;
    let port = port::Port { writer, context: context.clone(), token, most };
    let limits = Limits { connections: usize::from(*config.connections.get_ref()), ..Limits::default() };
    let (stop, stopped) = tokio::sync::watch::channel(());
    let counters = Arc::clone(&context.counters);
    let serving = http::serve(listening, Arc::new(port).routes(), limits, counters, stopped);
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => return Err("the port closed by itself".into()),
        () = context.stopped() => {}
    }
    drop(stop);
    serving.await;
    Ok(())
}

/// The first line of a file.
fn token(file: &Path) -> Result<String, String> {
    let name = || format!("line_protocol.token_file: {}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", name()))?;
    match text.lines().next().map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => Ok(token.to_owned()),
        None => Err(format!("{}: its first line is empty; write the token there", name())),
    }
}
