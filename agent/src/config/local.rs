//! The local port: where `top`, `tap`, `doctor` and Prometheus ask the running agent.

use std::fmt;
use std::path::Path;

use serde::de::{SeqAccess, Visitor, value::StrDeserializer};
use serde::{Deserialize, Deserializer, de};
use weir_protocol::settings::{SettingsError, Source, Spanned};

use crate::http::Address;

/// The most ports.
const MAX_PORTS: usize = 4;
/// The socket in the data directory that is there unless `local.listen` is set.
const SOCKET: &str = "agent.sock";

/// The local port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// Where it listens. Not set: at the socket in the data directory. An empty list: nowhere.
    pub listen: Option<Spanned<Ports>>,
    /// Whether others than this machine may reach it.
    pub insecure: bool,
}

/// One address or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(pub Vec<Address>);

impl LocalConfig {
    /// Where to listen; `data_dir` is that of the settings.
    pub fn addresses(&self, data_dir: &Path) -> Vec<Address> {
        match &self.listen {
            Some(ports) => ports.get_ref().0.clone(),
            None => vec![Address::Unix(data_dir.join(SOCKET))],
        }
    }

    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let Some(listen) = &self.listen else { return Ok(()) };
        let ports = &listen.get_ref().0;
        if ports.len() > MAX_PORTS {
            let message = format!("got {} addresses, expected at most {MAX_PORTS}", ports.len());
            return Err(source.error(listen.span(), message));
        }
        // With port 0 each is another one.
        let is_fixed = |address: &&Address| !matches!(address, Address::Tcp(at) if at.port() == 0);
        let repeated = ports.iter().enumerate().filter(|(at, address)| ports[..*at].contains(address));
        if let Some(address) = repeated.map(|(_, address)| address).find(is_fixed) {
            return Err(source.error(listen.span(), format!("{address} is there twice")).with_help("remove one"));
        }
        match ports.iter().find(|address| !address.is_local()).filter(|_| !self.insecure) {
            Some(address) => Err(source
                .error(listen.span(), format!("{address} can be reached from other machines, without a password"))
                .with_help("set an address such as \"127.0.0.1:9464\", or local.insecure = true if that is meant")),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"127.0.0.1:9464\" or \"unix:/run/weir/agent.sock\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ports, E> {
                Address::deserialize(StrDeserializer::new(text)).map(|address| Ports(vec![address]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ports, A::Error> {
                let mut ports = Vec::new();
                while let Some(address) = list.next_element()? {
                    ports.push(address);
                }
                Ok(Ports(ports))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}
