//! `token`: what lets people and programs act over HTTP and Kafka, and devices get their first certificate.

use serde_json::json;
use weir_protocol::settings::Period;
use weir_protocol::time::{SystemClock, WallClock};

use super::admin::Admin;
use super::print::{Printer, bare};
use super::{Failed, TokenCommand};
use crate::access::admin::NewToken;
use crate::config::Config;

pub(super) fn run(config: &Config, command: &TokenCommand, printer: &mut Printer) -> Result<(), Failed> {
    match command {
        TokenCommand::Create(args) => {
            let expires_ms = args.expires.as_deref().map(moment_from_now).transpose()?;
            let (name, role, enroll, tenant) = (args.name.clone(), args.role, args.enroll.clone(), args.tenant.clone());
            let asked = NewToken { name, role, enroll, tenant, expires_ms };
            let (id, token) = Admin::with(config, async |admin| admin.create_token(asked).await)?;
            eprintln!("Token {id}; this is the only time that it is shown.");
            printer.line(&token, &json!({"id": id, "token": token}))
        }
        TokenCommand::List => {
            for token in Admin::with(config, async |admin| admin.tokens().await)? {
                let text = |key: &str| if token[key].is_null() { "-".to_owned() } else { bare(&token[key]) };
                let grant = if token["role"].is_null() { format!("enroll {}", text("enroll")) } else { text("role") };
                let line = format!(
                    "{}  {:<8} {:<20} tenant {:<12} until {:<24} {}",
                    text("id"),
                    text("state"),
                    grant,
                    text("tenant"),
                    text("expires"),
                    text("name")
                );
                printer.line(line.trim_end(), &token)?;
            }
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            Admin::with(config, async |admin| admin.revoke_token(id).await)?;
            printer.line(format_args!("token {id} is good no more"), &json!({"id": id, "revoked": true}))
        }
    }
}

fn moment_from_now(text: &str) -> Result<i64, Failed> {
    let period: Period = text.parse().map_err(|error| Failed::usage(format!("--expires {text}: {error}")))?;
    let period = i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX);
    Ok(SystemClock.now().as_millis().saturating_add(period))
}
