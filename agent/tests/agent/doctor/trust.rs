//! The way to the gateway: its steps, certificates on both sides, secrets and keys.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection};
use weir_agent::config::Config;
use weir_agent::doctor::Verdict;
use weir_agent::identity::Store;
use weir_agent::queue::{Incarnation, Queue, QueueOptions};
use weir_protocol::settings::Source;
use weir_storage::{Fs, RealFs};

use super::{DAY, Machine, NOON};

#[tokio::test]
async fn every_step_to_a_gateway_that_fails_is_told_apart() {
    let machine = Machine::new();
    let gateway = |address: &str| format!("[uplink]\naddress = \"{address}\"\n");
    let found = gateway("gateway.invalid:1883");
    machine.says(&found, "gateway", Verdict::Problem, &["gateway.invalid is not found", "getent hosts"]).await;
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let refused = gateway(&free.to_string());
    machine.says(&refused, "gateway", Verdict::Problem, &["nobody listens on", "is the gateway running"]).await;
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let plain = gateway(&address.to_string());
    machine.says(&plain, "gateway", Verdict::Ok, &["answers, without TLS"]).await;
    machine.says(&plain, "MQTT", Verdict::Problem, &["no CONNACK within 0.3 s"]).await;
    let unenrolled = gateway(&format!("mqtts://{address}"));
    machine.says(&unenrolled, "gateway", Verdict::Problem, &["nothing there to recognise the gateway by"]).await;
    let authority = Authority::new();
    machine.writes("ca.pem", &authority.pem());
    let told = format!("{unenrolled}ca = {:?}\n", machine.path("ca.pem"));
    // Somebody accepts and says nothing; the check ends all the same.
    machine.says(&told, "gateway", Verdict::Problem, &["TLS fails", "openssl s_client -connect"]).await;
}

#[tokio::test]
async fn a_certificate_of_the_gateway_is_told_by_what_is_wrong_with_it() {
    let machine = Machine::new();
    let (authority, other) = (Authority::new(), Authority::new());
    machine.writes("ca.pem", &authority.pem());
    // The library looks at the real clock.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs() as i64;
    let machine = Machine { now, ..machine };
    let cases = [
        (authority.server("localhost", now - DAY, now + 90 * DAY), Verdict::Ok, "90 days left"),
        (authority.server("localhost", now - DAY, now + 3 * DAY), Verdict::Warning, "ends in 3 days"),
        (
            authority.server("localhost", now - 2 * DAY, now - DAY),
            Verdict::Problem,
            "is the clock of this machine right",
        ),
        (authority.server("localhost", now + DAY, now + 2 * DAY), Verdict::Problem, "has not begun"),
        (authority.server("other.example", now - DAY, now + DAY), Verdict::Problem, "is for other names"),
        (
            other.server("localhost", now - DAY, now + DAY),
            Verdict::Problem,
            "not of the authority that this agent trusts",
        ),
    ];
    for (server, verdict, words) in cases {
        let port = serves(server);
        let ca = machine.path("ca.pem");
        let settings = format!("[uplink]\naddress = \"mqtts://localhost:{port}\"\nca = {ca:?}\n");
        machine.says(&settings, "gateway", verdict, &[words]).await;
    }
}

#[tokio::test]
async fn the_agents_own_certificate_is_told_by_its_name_and_its_age() {
    let machine = Machine::new();
    let authority = Authority::new();
    let cases = [
        ("edge-1", -DAY, 90 * DAY, Verdict::Ok, "90 days left"),
        ("edge-1", -80 * DAY, 10 * DAY, Verdict::Warning, "ends in 10 days and should be renewed by now"),
        ("edge-1", -9 * DAY, -3 * DAY, Verdict::Problem, "it ended 3 days ago"),
        ("edge-1", DAY, 3 * DAY, Verdict::Problem, "the clock of this machine is behind"),
        ("edge-2", -DAY, 90 * DAY, Verdict::Problem, "set name = \"edge-2\""),
    ];
    for (name, begins, ends, verdict, words) in cases {
        let (chain, key) = authority.certified(name, NOON + begins, NOON + ends);
        Store::of(&machine.data()).enrolled("https://gateway", &authority.pem(), &key, &chain).expect("an identity");
        machine.says("", "certificate", verdict, &[words]).await;
    }
    let key = machine.data().join("identity/device.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("rights");
    machine.says("", "certificate", Verdict::Warning, &["others can read the key", "sudo chmod 600"]).await;
    fs::write(&key, "no key").expect("a file");
    machine.says("", "certificate", Verdict::Problem, &["no private key", "weir-agent enroll --force"]).await;
}

#[tokio::test]
async fn a_secret_that_the_agent_cannot_read_or_others_can_is_found() {
    let machine = Machine::new();
    let key = machine.path("queue.key");
    let settings = format!("[queue.encryption]\nkey_file = {key:?}\n");
    machine.says(&settings, "encryption", Verdict::Problem, &["head -c 32 /dev/urandom"]).await;
    fs::write(&key, "short").expect("a file");
    machine.says(&settings, "encryption", Verdict::Problem, &["got 5 bytes that are no key"]).await;
    fs::write(&key, [7; 32]).expect("a file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("rights");
    machine.says(&settings, "encryption", Verdict::Problem, &["edge may not read it", "sudo chown edge "]).await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).expect("rights");
    machine.says(&settings, "encryption", Verdict::Warning, &["others may read it", "sudo chmod 600"]).await;
    let password = machine.path("password");
    let settings = format!("[uplink]\nusername = \"a\"\npassword_file = {password:?}\n");
    machine.says(&settings, "secret", Verdict::Problem, &["is not there", "sudo install -o edge -m 600"]).await;
}

/// The key of another box: the agent does not start.
#[tokio::test]
async fn a_key_that_does_not_open_the_queue_is_found() {
    let machine = Machine::new();
    let (user, key) = (rustix::process::geteuid().as_raw(), machine.path("queue.key"));
    machine.writes("proc/self/status", &format!("Uid:\t{user}\t{user}\nGid:\t{user}\t{user}\nGroups:\n"));
    let settings = format!("[queue.encryption]\nkey_file = {key:?}\n");
    fs::write(&key, [1; 32]).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("rights");
    let config = format!("data_dir = {:?}\n{settings}", machine.data());
    let config = Config::of(&Source::new("settings", config)).expect("good settings");
    let disk: Arc<dyn Fs> = Arc::new(RealFs);
    let options = QueueOptions::of(&config).expect("a key");
    drop(Queue::open(&disk, &config.data_dir, options, Incarnation(1)).expect("a queue"));
    machine.says(&settings, "encryption", Verdict::Ok, &["the key is there"]).await;
    fs::write(&key, [2; 32]).expect("another key");
    machine.says(&settings, "encryption", Verdict::Problem, &["does not open the queue", "put the key back"]).await;
}

/// Who signs certificates.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self(Issuer::new(params, key), pem)
    }

    fn pem(&self) -> String {
        self.1.clone()
    }

    /// Certificate and key, as PEM.
    fn certified(&self, name: &str, begins: i64, ends: i64) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let time = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds as u64);
        (params.not_before, params.not_after) = (time(begins), time(ends));
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self, name: &str, begins: i64, ends: i64) -> ServerConfig {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let (chain, key) = self.certified(name, begins, ends);
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key")
    }
}

/// Does one handshake on a port of its own.
fn serves(server: ServerConfig) -> u16 {
    // Where localhost is ::1 first, that is refused and the next is tried.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
        // A client that does not like the certificate hangs up.
        while server.is_handshaking() && server.complete_io(&mut stream).is_ok() {}
    });
    port
}
