//! `session list`, `session show`, `session delete`: they ask the running gateway.

use clap::Subcommand;
use serde_json::Value;
use weir_protocol::Tenant;

use super::Failed;
use super::client::{Client, escaped};
use super::print::{Printer, bare};
use super::source::Source;
use crate::config::Config;
use crate::http::sessions::MAX_SESSIONS;
use crate::moment;

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// One line for each client that is connected, or whose session outlives its connection.
    List,
    /// One session: what its client asked for.
    Show {
        /// The client id.
        client: String,
        /// Whose it is.
        #[arg(long, default_value_t = Tenant::DEFAULT)]
        tenant: Tenant,
    },
    /// Disconnect a client and forget its session: subscriptions, positions, what it has not released.
    Delete {
        /// The client id.
        client: String,
        /// Whose it is.
        #[arg(long, default_value_t = Tenant::DEFAULT)]
        tenant: Tenant,
    },
}

pub(super) fn run(config: &Config, command: &SessionCommand, printer: &mut Printer) -> Result<(), Failed> {
    super::block_on(async {
        let Source::Gateway(client) = Source::open(config).await? else {
            return Err(Failed::unavailable(
                "no gateway runs on this data, and sessions are asked of a running one; start it (`weir-gateway run`)",
            ));
        };
        match command {
            SessionCommand::List => list(&client, printer).await,
            SessionCommand::Show { client: name, tenant } => {
                let shown = client.json(&path(tenant, name)).await?;
                printer.line(in_words(&shown), &shown)
            }
            SessionCommand::Delete { client: name, tenant } => {
                let deleted = client.delete(&path(tenant, name)).await?;
                printer.line(format_args!("{name}: deleted"), &deleted)
            }
        }
    })
}

async fn list(client: &Client, printer: &mut Printer) -> Result<(), Failed> {
    let mut after = String::new();
    loop {
        let page = client.json(&format!("/sessions?limit={MAX_SESSIONS}{after}")).await?;
        let Value::Array(sessions) = page else {
            return Err(Failed::runtime(format!("/sessions: expected a list, got {page}")));
        };
        for session in &sessions {
            printer.line(in_one_line(session), session)?;
        }
        match sessions.last() {
            Some(last) if sessions.len() == MAX_SESSIONS => {
                after = format!("&after={}/{}", escaped(&bare(&last["tenant"])), escaped(&bare(&last["client"])));
            }
            _ => return Ok(()),
        }
    }
}

fn path(tenant: &Tenant, client: &str) -> String {
    format!("/sessions/{}/{}", escaped(tenant.as_str()), escaped(client))
}

fn in_one_line(session: &Value) -> String {
    let since = moment::format(session["since_ms"].as_i64().unwrap_or_default());
    let state = match session["mqtt"].as_str() {
        Some(version) => format!("connected since {since}, MQTT {version}"),
        None => format!("away since {since}"),
    };
    let ends = match (session["durable"] == true, session["expiry_s"].as_u64()) {
        (false, _) => "ends with it".to_owned(),
        (true, Some(seconds)) => format!("kept for {seconds} s"),
        (true, None) => "kept for ever".to_owned(),
    };
    let name = format!("{}/{}", bare(&session["tenant"]), bare(&session["client"]));
    let count =
        session["subscriptions"].as_array().map_or_else(|| session["subscriptions"].clone(), |all| all.len().into());
    format!("{name:<32} {state}, {ends}  {count} subscriptions")
}

fn in_words(session: &Value) -> String {
    let mut text = in_one_line(session);
    for known in session["subscriptions"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n  {}  QoS {}", bare(&known["filter"]), known["qos"]));
        if let Some(identifier) = known["identifier"].as_u64() {
            text.push_str(&format!(", identifier {identifier}"));
        }
    }
    let open = session["open_ids"].as_u64().unwrap_or_default();
    if open > 0 {
        text.push_str(&format!("\n{open} packet ids are open at QoS 2"));
    }
    if session["will"] == true {
        text.push_str("\na will waits");
    }
    text
}
