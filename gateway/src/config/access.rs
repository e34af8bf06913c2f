//! The table `access`: who may come, and which topics clients may use.

use std::net::SocketAddr;

use serde::Deserialize;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::{Config, unset, within};
use crate::access::acl::{MAX_RULES, Rule as Compiled, RuleError, Rules};
use crate::access::audit::Keep;
use crate::access::{Door, Settings};
use crate::ingest::Binding;
use crate::limits::LimitsOptions;
use crate::limits::bucket::Rate;

/// The table `access`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Who may come to the MQTT ports.
    pub mqtt: Option<Spanned<Door>>,
    /// Who may come to the HTTP port.
    pub http: Option<Spanned<Door>>,
    /// Who may come to the Kafka port.
    pub kafka: Option<Spanned<Door>>,
    /// Failed logins of one address, a second.
    pub failed_logins_per_address: Spanned<u32>,
    /// Logins that may wait for their password to be checked.
    pub passwords_waiting: Spanned<u32>,
    /// What the audit may take on the disk.
    pub audit_retention_bytes: Spanned<ByteSize>,
    /// How long the audit is kept.
    pub audit_retention_age: Spanned<Period>,
    /// Who may write a device.
    pub binding: Option<Spanned<Binding>>,
    /// What clients may do.
    pub rule: Vec<Rule>,
}

/// A table `access.rule`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A pattern of client ids, perhaps with a tenant and a slash in front.
    pub clients: Spanned<String>,
    /// What they may publish on.
    #[serde(default)]
    pub publish: Vec<Spanned<String>>,
    /// What they may subscribe to.
    #[serde(default)]
    pub subscribe: Vec<Spanned<String>>,
}

/// How many seconds of a rate may come at once.
const BURST_SECONDS: u32 = 10;

impl Default for Access {
    fn default() -> Self {
        Self {
            mqtt: None,
            http: None,
            kafka: None,
            failed_logins_per_address: unset(3),
            passwords_waiting: unset(128),
            audit_retention_bytes: unset(ByteSize::mib(64)),
            audit_retention_age: unset(Period::secs(365 * 86_400)),
            binding: None,
            rule: Vec::new(),
        }
    }
}

impl Rule {
    fn build(&self) -> Result<Compiled, RuleError> {
        let texts = |filters: &[Spanned<String>]| filters.iter().map(|filter| filter.get_ref().clone()).collect();
        let (publish, subscribe): (Vec<String>, Vec<String>) = (texts(&self.publish), texts(&self.subscribe));
        Compiled::new(self.clients.get_ref(), &publish, &subscribe)
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let Err(error) = self.build() else { return Ok(()) };
        let at = match &error {
            RuleError::Filter { filter, .. } => {
                let all = self.publish.iter().chain(&self.subscribe);
                all.into_iter().find(|one| one.get_ref() == filter).unwrap_or(&self.clients)
            }
            _ => &self.clients,
        };
        Err(source.error(at.span(), format!("access.rule: {error}")))
    }
}

impl Access {
    /// How long the audit is kept.
    pub fn keep(&self) -> Keep {
        Keep { bytes: self.audit_retention_bytes.get_ref().0, age: self.audit_retention_age.get_ref().0 }
    }

    /// Whether anything says who may do what.
    fn is_configured(&self, config: &Config) -> bool {
        let is_required = self.mqtt.as_ref().is_some_and(|door| *door.get_ref() == Door::Required);
        is_required || !self.rule.is_empty() || config.tls.client_ca.is_some()
    }

    pub(super) fn check(&self, source: &Source, config: &Config) -> Result<(), SettingsError> {
        within(source, "access.failed_logins_per_address", &self.failed_logins_per_address, 0..=1_000_000)?;
        within(source, "access.passwords_waiting", &self.passwords_waiting, 1..=100_000)?;
        let (bytes, age) = (&self.audit_retention_bytes, &self.audit_retention_age);
        within(source, "access.audit_retention_bytes", bytes, ByteSize::mib(8)..=ByteSize(1 << 50))?;
        within(source, "access.audit_retention_age", age, Period::secs(3600)..=Period::secs(100 * 366 * 86_400))?;
        for (number, rule) in self.rule.iter().enumerate() {
            rule.check(source)?;
            if number == MAX_RULES {
                return Err(source.error(rule.clients.span(), format!("access.rule: expected at most {MAX_RULES}")));
            }
        }
        check_exposure(source, config)
    }
}

/// A port that clients come to.
struct Port<'c> {
    key: &'static str,
    listen: &'c Spanned<SocketAddr>,
    has_tls: bool,
    door: Door,
    tls_help: &'static str,
    door_help: &'static str,
}

/// Refuses addresses that other machines can reach without TLS and authentication.
fn check_exposure(source: &Source, config: &Config) -> Result<(), SettingsError> {
    let doors = config.access_settings();
    let mqtt_door = "clear access.mqtt, or set it to \"required\"";
    let mut ports = vec![
        Port {
            key: "mqtt.listen",
            listen: &config.mqtt.listen,
            has_tls: false,
            door: doors.mqtt,
            tls_help: "listen with TLS, mqtt.tls_listen = \"ADDRESS:8883\", and here on 127.0.0.1:1883",
            door_help: mqtt_door,
        },
        Port {
            key: "http.listen",
            listen: &config.http.listen,
            has_tls: *config.http.tls.get_ref(),
            door: doors.http,
            tls_help: "set http.tls = true",
            door_help: "clear access.http, or set it to \"required\"",
        },
        Port {
            key: "kafka.listen",
            listen: &config.kafka.listen,
            has_tls: *config.kafka.tls.get_ref(),
            door: doors.kafka,
            tls_help: "set kafka.tls = true",
            door_help: "clear access.kafka, or set it to \"required\"",
        },
    ];
    if let Some(listen) = &config.mqtt.tls_listen {
        let (key, door, door_help) = ("mqtt.tls_listen", doors.mqtt, mqtt_door);
        ports.push(Port { key, listen, has_tls: true, door, tls_help: "", door_help });
    }
    for Port { key, listen, has_tls, door, tls_help, door_help } in ports {
        let address = listen.get_ref();
        if address.ip().is_loopback() || config.insecure || (has_tls && door == Door::Required) {
            continue;
        }
        let (lacks, help) = match (has_tls, door) {
            (false, Door::Required) => ("no TLS", tls_help.to_owned()),
            (true, _) => ("no authentication", door_help.to_owned()),
            (false, Door::Open) => ("no TLS and no authentication", format!("{tls_help}, and {door_help}")),
        };
        let message = format!("{key}: {address} can be reached from other machines, and there is {lacks}");
        return Err(source.error(listen.span(), message).with_help(format!(
            "{help}; or listen on 127.0.0.1:{}, or accept the risk with `insecure = true` at the top of the file",
            address.port()
        )));
    }
    Ok(())
}

impl Config {
    /// Who may come to the ports, and which topics clients may use.
    ///
    /// A door that the settings do not name is required where something says who may do what (rules, `tls.client_ca`, or
    /// `access.mqtt`), where the port has users, on the TLS port of MQTT, and where other machines can come; else it is open.
    pub fn access_settings(&self) -> Settings {
        let is_configured = self.access.is_configured(self);
        let reachable = |listen: &Spanned<SocketAddr>| !listen.get_ref().ip().is_loopback() && !self.insecure;
        let door = |set: &Option<Spanned<Door>>, is_required: bool| match set {
            Some(set) => *set.get_ref(),
            None if is_required || is_configured => Door::Required,
            None => Door::Open,
        };
        let mqtt = door(&self.access.mqtt, self.mqtt.tls_listen.is_some() || reachable(&self.mqtt.listen));
        // Rules were checked; one that were none would allow nothing.
        let rules: Vec<_> = self.access.rule.iter().filter_map(|rule| rule.build().ok()).collect();
        Settings {
            mqtt,
            http: door(&self.access.http, reachable(&self.http.listen)),
            kafka: door(&self.access.kafka, !self.kafka.users.is_empty() || reachable(&self.kafka.listen)),
            open_metrics: *self.http.open_metrics.get_ref(),
            rules: match mqtt {
                Door::Open if rules.is_empty() => Rules::open(),
                _ => Rules::enforced(rules),
            },
        }
    }

    /// Who may write a device: its owner, unless nobody has to say who it is or the settings say otherwise.
    pub fn binding(&self) -> Binding {
        match (&self.access.binding, self.access_settings().mqtt) {
            (Some(binding), _) => *binding.get_ref(),
            (None, Door::Required) => Binding::FirstWriter,
            (None, Door::Open) => Binding::None,
        }
    }

    /// How often clients may come, and how much they may send.
    pub fn rates(&self) -> LimitsOptions {
        let rate = |per_second: f64| {
            let burst = per_second * f64::from(BURST_SECONDS);
            (per_second > 0.0).then_some(Rate { per_second, burst })
        };
        let count = |set: &Spanned<u32>| rate(f64::from(*set.get_ref()));
        let mqtt = &self.mqtt;
        LimitsOptions {
            connects_per_address: count(&mqtt.connects_per_address),
            connects: count(&mqtt.connects_per_client),
            failed_logins: count(&self.access.failed_logins_per_address),
            messages: count(&mqtt.publishes_per_client),
            bytes: rate(mqtt.publish_bytes_per_client.get_ref().0 as f64),
        }
    }

    /// How long the passwords of a crowd may wait.
    pub fn passwords_waiting(&self) -> usize {
        *self.access.passwords_waiting.get_ref() as usize
    }
}
