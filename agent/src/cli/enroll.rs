//! `enroll`: the certificate of this agent.

use serde_json::json;

use super::arguments::{EnrollArgs, Format};
use super::{Failure, owner, print, print_json, runtime};
use crate::config::Config;
use crate::identity::enrolment::{self, EnrolError, Recognised};
use crate::identity::{IdentityError, Store, trust};

pub(super) fn run(config: &Config, args: &EnrollArgs) -> Result<(), Failure> {
    owner::may_change(config)?;
    let store = Store::of(&config.data_dir);
    if store.exists() && !args.force {
        return Err(Failure::Failed(IdentityError::Exists(store.device()).to_string()));
    }
    let recognised = match (&args.ca, &args.ca_fingerprint) {
        (Some(ca), _) => Recognised::Ca(ca.clone()),
        (None, Some(text)) => Recognised::Fingerprint(trust::fingerprint(text).ok_or_else(|| {
            Failure::Failed(format!("--ca-fingerprint {text}: expected the 64 hexadecimal digits of a SHA-256"))
        })?),
        (None, None) => Recognised::Plain,
    };
    let name = args.name.clone().unwrap_or_else(|| config.name.to_string());
    let runtime = runtime()?;
    let proxy = config.uplink.proxy.as_ref().map(|proxy| proxy.get_ref());
    let enrolled = runtime.block_on(enrolment::enroll(&store, &args.gateway, &args.token, &name, &recognised, proxy));
    enrolled.map_err(|error| match error {
        EnrolError::Unreachable { .. } => Failure::Unavailable(error.to_string()),
        error => Failure::Failed(error.to_string()),
    })?;
    let life = store.load().ok().and_then(|identity| identity.life());
    let name = life.map_or(name, |life| life.name);
    match args.output.output {
        Format::Json => print_json(&json!({ "identity": store.device(), "name": name }))?,
        Format::Text => print(&format!("{}: key and certificate of {name}", store.device().display()))?,
    }
    if name != config.name.as_str() {
        eprintln!("Set name = {name:?} in the settings: the certificate is for it.");
    }
    if !config.uplink.gateways().iter().any(|gateway| gateway.address.get_ref().tls) {
        let host = args.gateway.split("://").last().unwrap_or_default().split([':', '/']).next().unwrap_or_default();
        eprintln!("Set uplink.address = \"mqtts://{host}:8883\" in the settings, and start the agent.");
    }
    Ok(())
}
