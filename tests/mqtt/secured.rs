//! A gateway with an authority of its own, made with the commands that a person types.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_lab::deployment::{Deployment, Trust};
use weir_tests::{binaries, plan};

use crate::order::{Order, Transport};
use crate::stage::{STORE, Stage};

/// Everybody below a topic of his own; HTTP and Kafka stay open for the test itself.
const ACCESS: &str = "[access]\nhttp = \"open\"\nkafka = \"open\"\n\n[[access.rule]]\nclients = \"*\"\n\
                      publish = [\"plant/{client}/#\"]\nsubscribe = [\"plant/#\"]\n";

/// A gateway that clients reach over TLS.
pub(crate) struct Secured {
    /// The gateway.
    pub(crate) stage: Stage,
    trust: Trust,
    settings: PathBuf,
}

impl Secured {
    /// Makes the authority and starts the gateway.
    pub(crate) async fn new() -> Self {
        let plan = plan(|plan| {
            plan.boards = 0;
            plan.tls = true;
            plan.mqtt = STORE.to_owned();
            plan.tables = ACCESS.to_owned();
        });
        let mut deployment = Deployment::prepare(plan, binaries()).await.unwrap();
        let (settings, trust) = (deployment.scratch.join("gateway.toml"), deployment.trust.clone().unwrap());
        deployment.gateway.start().unwrap();
        deployment.wait_for_gateway().await.unwrap();
        Self { stage: Stage::of(deployment), trust, settings }
    }

    /// Types a command of the gateway; what it prints.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> String {
        type_in(&self.settings, arguments, input)
    }

    /// The file of the authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.trust.authority.clone()
    }

    /// Certificate and key of a client, by a request as a device makes it.
    pub(crate) fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let file = |what: &str| self.stage.deployment.scratch.join(&format!("{name}.{what}"));
        let (request, certificate, key) = (file("csr"), file("pem"), file("key"));
        let pair = rcgen::KeyPair::generate().unwrap();
        let asked = rcgen::CertificateParams::new(vec!["not-its-name".to_owned()]).unwrap();
        fs::write(&request, asked.serialize_request(&pair).unwrap().pem().unwrap()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        let issued = self.command(&["ca", "issue", "--csr", &request.display().to_string(), "--name", name], "");
        fs::write(&certificate, issued).unwrap();
        (certificate, key)
    }

    /// What mosquitto's programs are told to reach the gateway over TLS as `id`, with the certificate of `name`.
    pub(crate) fn mosquitto(&self, id: &str, name: Option<&str>) -> Vec<String> {
        let port = self.trust.mqtts.port().to_string();
        let ca = self.ca().display().to_string();
        let told = ["-h", "localhost", "-p", &port, "-i", id, "--cafile", &ca];
        let mut all: Vec<String> = told.map(str::to_owned).into();
        if let Some((certificate, key)) = name.map(|name| self.certificate(name)) {
            all.extend(["--cert".to_owned(), certificate.display().to_string()]);
            all.extend(["--key".to_owned(), key.display().to_string()]);
        }
        all
    }

    /// A client over TLS that trusts the authority.
    pub(crate) fn order(&self, id: &str) -> Order {
        self.order_by(Transport::Tls, id)
    }

    /// The same by another way.
    pub(crate) fn order_by(&self, transport: Transport, id: &str) -> Order {
        let address = if transport == Transport::Tls { self.trust.mqtts } else { self.stage.http };
        Order { transport, ca: Some(self.ca()), ..Order::new(address, id) }
    }

    /// The same, with a certificate of its own.
    pub(crate) fn certified(&self, id: &str) -> Order {
        Order { certificate: Some(self.certificate(id)), ..self.order(id) }
    }
}

fn type_in(settings: &Path, arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut command = Command::new(&binaries().gateway);
    command.args(arguments).arg("--config").arg(settings);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
