//! `doctor`: each thing that can be wrong with a machine is found, and what to type is said.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection};
use weir_agent::config::Config;
use weir_agent::doctor::{Check, Ground, Verdict, examine};
use weir_agent::identity::Store;
use weir_agent::queue::{Incarnation, Queue, QueueOptions};
use weir_protocol::settings::Source;
use weir_storage::{Fs, RealFs};

use crate::process::{Place, text};

/// Saturday, 21 November 2026, noon.
const NOON: i64 = 1_795_262_400;
const DAY: i64 = 86_400;

/// A machine whose agent runs as user 54321, a member of no group but its own, with a data directory that it owns.
struct Machine {
    dir: tempfile::TempDir,
    now: i64,
    is_synchronised: bool,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("a directory"), now: NOON, is_synchronised: true };
        machine.writes(
            "proc/self/status",
            "Name:\tweir\nUid:\t54321\t54321\t54321\t54321\nGid:\t5\t5\t5\t5\nGroups:\t5\n",
        );
        machine.writes("proc/self/limits", "Limit  Soft  Hard  Units\nMax open files            4096   4096   files\n");
        machine.writes("etc/passwd", "root:x:0:0::/:/bin/sh\nedge:x:54321:54321::/:/bin/sh\n");
        machine.writes("etc/group", &format!("dialout:x:{}:\n", machine.group()));
        fs::create_dir(machine.data()).expect("a directory");
        fs::set_permissions(machine.data(), fs::Permissions::from_mode(0o777)).expect("rights");
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn data(&self) -> std::path::PathBuf {
        self.path("data")
    }

    /// The group that files of this test have.
    fn group(&self) -> u32 {
        fs::metadata(self.dir.path()).expect("a directory").gid()
    }

    fn writes(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    async fn examined(&self, settings: &str) -> Vec<Check> {
        let settings = format!("name = \"edge-1\"\ndata_dir = {:?}\n{settings}", self.data());
        let config = Config::of(&Source::new("settings", &settings)).expect("good settings");
        let before = files(&self.data());
        let ground = Ground {
            config: &config,
            root: self.dir.path().to_owned(),
            now: self.now,
            is_synchronised: self.is_synchronised,
            patience: Duration::from_millis(300),
        };
        let checks = examine(&ground).await;
        assert_eq!(files(&self.data()), before, "nothing stays behind");
        checks
    }

    /// What is said about `subject`, as it is printed.
    async fn says(&self, settings: &str, subject: &str, verdict: Verdict, words: &[&str]) {
        let checks = self.examined(settings).await;
        let said = |check: &Check| {
            let all = format!("{} {}", check.found, check.fix.clone().unwrap_or_default());
            check.subject.starts_with(subject)
                && check.verdict == verdict
                && words.iter().all(|word| all.contains(word))
        };
        assert!(checks.iter().any(said), "no {subject} {verdict:?} with {words:?} in {checks:#?}");
        assert!(checks.iter().all(|check| (check.verdict == Verdict::Ok) == check.fix.is_none()), "{checks:#?}");
    }
}

fn files(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_found() {
    let machine = Machine::new();
    machine.says("", "data_dir", Verdict::Ok, &["written and synced in"]).await;
    machine.says("[queue]\ncap = \"1000000 GiB\"\n", "disk space", Verdict::Warning, &["free some space"]).await;
    machine.says("", "disk space", Verdict::Ok, &["needed for a full queue"]).await;
    fs::set_permissions(machine.data(), fs::Permissions::from_mode(0o700)).expect("rights");
    machine.says("", "data_dir", Verdict::Problem, &["keep edge out", "sudo chown -R edge: "]).await;
    fs::remove_dir(machine.data()).expect("a directory");
    machine.says("", "data_dir", Verdict::Problem, &["is not there", "sudo install -d -o edge"]).await;
    fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o777)).expect("rights");
    machine.says("", "data_dir", Verdict::Ok, &["will be made by the first start"]).await;
}

#[tokio::test]
async fn a_serial_line_that_the_agent_may_not_open_names_the_group_to_join() {
    let machine = Machine::new();
    let settings = "[[serial]]\npath = \"/dev/ttyACM*\"\n";
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Problem, &["no such line now", "weir-agent ports"]).await;
    machine.writes("dev/ttyACM0", "");
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o660)).expect("rights");
    let told: &[&str] = match machine.group() {
        0 => &["edge may not open it", "sudo chgrp dialout"],
        _ => &["edge may not open it", "sudo usermod -aG dialout edge"],
    };
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Problem, told).await;
    machine.writes("proc/self/status", &format!("Uid:\t54321\t54321\nGid:\t5\t5\nGroups:\t5 {}\n", machine.group()));
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Ok, &["ttyACM0 is there"]).await;
}

#[tokio::test]
async fn what_other_sources_read_is_looked_for() {
    let machine = Machine::new();
    let i2c = "[[i2c]]\ndevice = \"box\"\nbus = \"/dev/i2c-1\"\nsensor = \"lm75\"\n";
    machine.says(i2c, "i2c /dev/i2c-1", Verdict::Problem, &["is not there", "sudo modprobe i2c-dev"]).await;
    machine.writes("dev/i2c-1", "");
    fs::set_permissions(machine.path("dev/i2c-1"), fs::Permissions::from_mode(0o666)).expect("rights");
    machine.says(i2c, "i2c /dev/i2c-1", Verdict::Ok, &["edge may open it"]).await;
    let iio = "[[iio]]\ndevice = \"box\"\n";
    machine.says(iio, "iio", Verdict::Problem, &["the kernel knows no sensor"]).await;
    machine.writes("sys/bus/iio/devices/iio:device0/name", "bme280\n");
    machine.says(iio, "iio", Verdict::Ok, &["bme280"]).await;
    let register = "[[modbus.register]]\nname = \"power\"\naddress = 0\n";
    let plc = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = plc.local_addr().expect("an address");
    let modbus = format!("[[modbus]]\ndevice = \"plc\"\naddress = \"tcp://{address}\"\n{register}");
    machine.says(&modbus, "modbus", Verdict::Ok, &["answers"]).await;
    drop(plc);
    machine.says(&modbus, "modbus", Verdict::Problem, &["nc -vz 127.0.0.1"]).await;
    let exec = "[[exec]]\ndevice = \"ups\"\ncommand = [\"/nowhere/upsc\"]\n";
    machine.says(exec, "exec ups", Verdict::Problem, &["/nowhere/upsc is not there"]).await;
}

/// Typed as root beside no agent, the question is what the user of the unit may do, with the group that the unit adds.
#[tokio::test]
async fn root_asks_for_the_user_of_the_unit() {
    let machine = Machine::new();
    machine.writes("proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\n");
    machine.writes("etc/passwd", "root:x:0:0::/:/bin/sh\nweir-agent:x:54321:54321::/:/bin/false\n");
    machine.writes("dev/ttyACM0", "");
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o660)).expect("rights");
    let settings = "[[serial]]\npath = \"/dev/ttyACM*\"\n";
    machine.says(settings, "serial", Verdict::Ok, &["weir-agent may open it"]).await;
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o600)).expect("rights");
    machine.says(settings, "serial", Verdict::Problem, &["weir-agent may not open it"]).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    let mut machine = Machine::new();
    machine.says("", "clock", Verdict::Ok, &["synchronised"]).await;
    machine.is_synchronised = false;
    machine.says("", "clock", Verdict::Warning, &["timedatectl set-ntp true"]).await;
    machine.now = 0;
    machine.says("", "clock", Verdict::Problem, &["before 2025"]).await;
}

#[tokio::test]
async fn what_systemd_and_the_kernel_allow_is_looked_at() {
    let machine = Machine::new();
    machine.says("", "open files", Verdict::Ok, &["4096"]).await;
    machine.writes("proc/self/limits", "Max open files            64   4096   files\n");
    machine.says("", "open files", Verdict::Warning, &["at most 64", "LimitNOFILE=4096"]).await;
    fs::create_dir_all(machine.path("run/systemd/system")).expect("a directory");
    machine.says("", "systemd", Verdict::Warning, &["there is no unit"]).await;
    machine.writes("etc/systemd/system/weir-agent.service", "");
    machine.says("", "systemd", Verdict::Warning, &["systemctl enable --now weir-agent"]).await;
    machine.writes("etc/systemd/system/multi-user.target.wants/weir-agent.service", "");
    machine.says("", "systemd", Verdict::Ok, &["started at boot"]).await;
}

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
async fn a_broker_a_program_or_a_sensor_that_is_not_there_is_named() {
    let machine = Machine::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    let broker = format!(
        "[[mqtt]]\nname = \"hall\"\naddress = \"{address}\"\n[[mqtt.topic]]\nfilter = \"a/b\"\npayload = \"number\"\ndevice = \"a\"\nchannel = \"c\"\n"
    );
    machine.says(&broker, "mqtt hall", Verdict::Ok, &["answers"]).await;
    drop(free);
    machine.says(&broker, "mqtt hall", Verdict::Problem, &["nobody listens on"]).await;
    let exec =
        "[[exec]]\ndevice = \"d\"\ncommand = [\"/opt/read\"]\n[[command]]\nname = \"fix\"\nrun = [\"/opt/fix\"]\n";
    machine.says(exec, "exec d", Verdict::Problem, &["/opt/read is not there"]).await;
    machine.says(exec, "command fix", Verdict::Problem, &["/opt/fix is not there"]).await;
    machine.writes("opt/read", "#!/bin/sh\n");
    fs::set_permissions(machine.path("opt/read"), fs::Permissions::from_mode(0o644)).expect("rights");
    machine.says(exec, "exec d", Verdict::Problem, &["edge may not run it", "sudo chmod a+rx /opt/read"]).await;
    fs::set_permissions(machine.path("opt/read"), fs::Permissions::from_mode(0o755)).expect("rights");
    let checks = machine.examined(exec).await;
    assert!(checks.iter().all(|check| check.subject != "exec d"), "{checks:?}");
    machine.writes("sys/bus/iio/devices/iio:device0/name", "bme280\n");
    let iio = |sensor: &str| format!("[[iio]]\ndevice = \"d\"\nsensors = [\"{sensor}\"]\n");
    machine.says(&iio("bm*"), "iio", Verdict::Ok, &["the kernel knows bme280"]).await;
    machine
        .says(&iio("ina219"), "iio", Verdict::Problem, &["no sensor is called \"ina219\"; the kernel knows bme280"])
        .await;
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

#[tokio::test]
async fn a_port_of_the_agents_own_that_it_could_not_open_is_found() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let settings = format!("[local]\nlisten = \"{address}\"\n");
    machine.says(&settings, "local.listen", Verdict::Problem, &["somebody else listens on", "sudo ss -ltnp"]).await;
    drop(taken);
    machine.says(&settings, "local.listen", Verdict::Ok, &["is free"]).await;
    let run = machine.path("run-weir");
    let settings = format!("[local]\nlisten = \"unix:{}/agent.sock\"\n", run.display());
    machine.says(&settings, "local.listen", Verdict::Problem, &["is not there", "sudo install -d -o edge"]).await;
    fs::create_dir(&run).expect("a directory");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("rights");
    machine.says(&settings, "local.listen", Verdict::Problem, &["edge may make no socket in"]).await;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).expect("rights");
    machine.says(&settings, "local.listen", Verdict::Ok, &["can be made"]).await;
}

#[test]
fn wrong_settings_are_a_problem_like_others() {
    let place = Place::new("[queue]\ncap = \"64 Mb\"\n");
    let output = place.output(&["doctor", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "1 problem\n");
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((checks.len(), &checks[0]["verdict"]), (1, &"problem".into()));
    assert!(checks[0]["found"].as_str().is_some_and(|found| found.contains(":2:7: got \"64 Mb\"")), "{checks:?}");
    let printed = text(&place.output(&["doctor"]).stdout);
    assert!(printed.starts_with("PROBLEM  settings: ") && printed.contains("-> mend it, then: weir-agent validate"));
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
