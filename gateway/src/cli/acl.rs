//! `acl test`: what a client may do, by the rules of the settings.

use serde_json::json;
use weir_protocol::Tenant;

use super::print::Printer;
use super::{AclTestArgs, Failed};
use crate::access::acl::Verdict;
use crate::access::{Action, ClientId};
use crate::config::Config;
use crate::mqtt::topic;

/// Prints the verdict and the rule that gave it; an error without a text if it is a no.
pub(super) fn test(config: &Config, args: &AclTestArgs, printer: &mut Printer) -> Result<(), Failed> {
    let client = ClientId::new(&args.client).map_err(|error| Failed::usage(format!("--client: {error}")))?;
    let tenant = match args.tenant.as_deref() {
        Some(text) => Tenant::new(text).map_err(|error| Failed::usage(format!("--tenant: {error}")))?,
        None => Tenant::DEFAULT,
    };
    let (action, asked) = match (&args.publish, &args.subscribe) {
        (Some(name), _) if topic::is_name(name) => (Action::Publish, name),
        (_, Some(filter)) if topic::is_filter(filter) => (Action::Subscribe, filter),
        (Some(name), _) => return Err(Failed::usage(format!("--publish {name}: expected a topic without wildcards"))),
        (_, filter) => {
            let filter = filter.as_deref().unwrap_or_default();
            return Err(Failed::usage(format!("--subscribe {filter}: expected a topic filter")));
        }
    };
    let settings = config.access_settings();
    let verdict = settings.rules.verdict(tenant, &client, action, asked);
    let why = match verdict {
        Verdict::Open => "no rules are enforced: there are none, and access.mqtt is open".to_owned(),
        Verdict::Rule(number, filter) => {
            let clients = config.access.rule.get(number).map_or("?", |rule| rule.clients.get_ref());
            format!("rule {} (clients = {clients:?}): {filter}", number + 1)
        }
        Verdict::BuiltIn(filter) => format!("what every agent may: {filter}"),
        Verdict::Denied => "no rule allows it".to_owned(),
    };
    let (is_allowed, word) = match verdict.is_allowed() {
        true => (true, "allowed"),
        false => (false, "denied"),
    };
    printer.line(format_args!("{word}: {why}"), &json!({"allowed": is_allowed, "why": why}))?;
    if is_allowed { Ok(()) } else { Err(Failed::said()) }
}
