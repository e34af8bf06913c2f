//! What a client is told before it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How a client reaches the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As the bytes come.
    #[default]
    Tcp,
    /// Encrypted.
    Tls,
    /// Through the HTTP port.
    WebSocket,
    /// Through the HTTP port, encrypted.
    SecureWebSocket,
}

impl Transport {
    /// As the programs call it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::SecureWebSocket => "wss",
        }
    }
}

/// An order.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Where.
    pub(crate) address: SocketAddr,
    /// How.
    pub(crate) transport: Transport,
    /// The client id.
    pub(crate) id: String,
    /// Whether its session outlives its connection.
    pub(crate) durable: bool,
    /// User name and password.
    pub(crate) login: Option<(String, String)>,
    /// The certificate that it trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Its own certificate and key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// QoS, retain (0 or 1), topic and text of its will.
    pub(crate) will: Option<String>,
    /// Seconds between its end and its will.
    pub(crate) will_delay: u32,
}

impl Order {
    /// A client with nothing special.
    pub(crate) fn new(address: SocketAddr, id: &str) -> Self {
        Self {
            address,
            transport: Transport::Tcp,
            id: id.to_owned(),
            durable: false,
            login: None,
            ca: None,
            certificate: None,
            will: None,
            will_delay: 0,
        }
    }

    /// One whose session outlives its connection.
    pub(crate) fn durable(address: SocketAddr, id: &str) -> Self {
        Self { durable: true, ..Self::new(address, id) }
    }

    /// The arguments of every program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all = vec!["--host".to_owned(), self.host(), "--port".to_owned(), self.address.port().to_string()];
        let mut add = |name: &str, value: &str| all.extend([name.to_owned(), value.to_owned()]);
        add("--transport", self.transport.as_str());
        add("--id", &self.id);
        if let Some((user, password)) = &self.login {
            add("--user", user);
            add("--password", password);
        }
        if let Some(ca) = &self.ca {
            add("--ca", &ca.display().to_string());
        }
        if let Some((certificate, key)) = &self.certificate {
            add("--certificate", &certificate.display().to_string());
            add("--key", &key.display().to_string());
        }
        if let Some(will) = &self.will {
            add("--will", will);
            add("--will-delay", &self.will_delay.to_string());
        }
        if self.durable {
            all.push("--durable".to_owned());
        }
        all
    }

    /// Certificates name a host; addresses are for those without.
    pub(crate) fn host(&self) -> String {
        if self.ca.is_some() { "localhost".to_owned() } else { self.address.ip().to_string() }
    }
}
