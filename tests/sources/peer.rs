//! The programs on the other side of a source, and where they are.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use weir_lab::deployment::Scratch;
use weir_lab::mosquitto::{self, Mosquitto};
use weir_lab::ports::Reserved;
use weir_lab::process::{Process, Program};
use weir_tests::{PATIENCE, binaries, skip};

/// How long a program may take to end once it is asked to.
const END: Duration = Duration::from_secs(10);

/// Where `tests/sources/install` puts what it builds: beside the profile's directory in that of cargo.
pub(crate) fn built() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("source-peers")
}

/// A file that `tests/sources/install` made; `None`, said loudly, if it did not.
pub(crate) fn installed(what: &str, file: &str) -> Option<PathBuf> {
    let path = built().join(what);
    if !path.join("made-of").is_file() {
        skip(&format!("{what} is not installed; type: tests/run sources"));
        return None;
    }
    Some(path.join(file))
}

/// A running program.
pub(crate) struct Peer {
    /// What it said behind `ready`.
    pub(crate) ready: String,
    process: Process,
    scratch: Scratch,
}

impl Peer {
    /// Starts a program that says `ready` and where, once it is.
    pub(crate) async fn start(program: PathBuf, arguments: Vec<OsString>) -> Self {
        let scratch = Scratch::new().unwrap();
        let name = program.file_name().unwrap().to_string_lossy().into_owned();
        let log = scratch.join("peer.log");
        let guard = binaries().lab.clone();
        let environment = vec![("WEIR_SCRATCH".into(), scratch.join(""))];
        let program = Program { name, guard, path: program, arguments, environment, log };
        let mut process = program.start().unwrap();
        let mut lines = process.lines().unwrap();
        let line = tokio::time::timeout(PATIENCE, lines.recv()).await.expect("it says something");
        let line = line.unwrap_or_else(|| panic!("it ended: {}", std::fs::read_to_string(&program.log).unwrap()));
        let ready = line.strip_prefix("ready ").unwrap_or_else(|| panic!("it is not ready: {line}")).to_owned();
        Self { ready, process, scratch }
    }

    /// One of our Python programs; `None`, said loudly, if its packages are not installed.
    pub(crate) async fn python(program: &str, arguments: &[&str]) -> Option<Self> {
        let python = installed("python", "bin/python")?;
        let program = binaries().root.join("tests/sources/peers/python").join(program);
        // No .pyc files beside the sources.
        let arguments = ["-B".into(), program.into()].into_iter().chain(arguments.iter().map(OsString::from));
        Some(Self::start(python, arguments.collect()).await)
    }

    /// A broker: `mochi`, `aedes` or `hivemq`; `None`, said loudly, if it is not installed.
    pub(crate) async fn broker(name: &str) -> Option<Self> {
        let (program, file) = match name {
            "aedes" => ("node", "broker.mjs"),
            "hivemq" => ("java", "Broker.java"),
            _ => ("", "broker"),
        };
        let file = installed(name, file)?;
        let (program, arguments): (_, Vec<OsString>) = match program {
            "" => (file, Vec::new()),
            "java" => (program.into(), vec!["-cp".into(), file.with_file_name("lib/*").into(), file.into()]),
            _ => (program.into(), vec![file.into()]),
        };
        Some(Self::start(program, arguments).await)
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
        self.scratch.remove().unwrap();
    }

    /// Ends it.
    pub(crate) async fn end(mut self) {
        drop(self.process.stdin());
        let _ = self.process.stop(END).await;
        self.scratch.remove().unwrap();
    }
}

/// A broker of its own.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    program: BrokerProgram,
}

enum BrokerProgram {
    Mosquitto(Mosquitto, Scratch),
    Other(Peer),
}

impl Broker {
    /// Starts mosquitto; `None`, said loudly, if it is not installed.
    pub(crate) async fn mosquitto() -> Option<Self> {
        let Some(path) = mosquitto::find() else {
            skip("mosquitto is not installed; type: apt-get install mosquitto");
            return None;
        };
        let scratch = Scratch::new().unwrap();
        let mosquitto = Mosquitto::start(path, &scratch, binaries(), None).await.unwrap();
        Some(Self { address: mosquitto.address, program: BrokerProgram::Mosquitto(mosquitto, scratch) })
    }

    /// Starts one of [`Peer::broker`].
    pub(crate) async fn of(name: &str) -> Option<Self> {
        let peer = Peer::broker(name).await?;
        Some(Self { address: peer.ready.parse().unwrap(), program: BrokerProgram::Other(peer) })
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        match self.program {
            BrokerProgram::Mosquitto(mut mosquitto, scratch) => {
                mosquitto.process.kill().await.unwrap();
                scratch.remove().unwrap();
            }
            BrokerProgram::Other(peer) => peer.end().await,
        }
    }
}

/// An HTTP proxy of its own.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    process: Process,
    scratch: Scratch,
    _reserved: Reserved,
}

impl Proxy {
    /// Starts tinyproxy; `None`, said loudly, if it is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs = std::env::split_paths(&path).map(|directory| directory.join("tinyproxy"));
        let Some(path) = programs.find(|program| program.is_file()) else {
            skip("tinyproxy is not installed; type: apt-get install tinyproxy-bin");
            return None;
        };
        let (scratch, reserved) = (Scratch::new().unwrap(), Reserved::new(0).unwrap());
        let (address, settings) = (reserved.address, scratch.join("tinyproxy.conf"));
        let log = scratch.join("tinyproxy.log");
        let text = format!("Port {}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nLogFile {log:?}\n", address.port());
        std::fs::write(&settings, text).unwrap();
        let arguments = vec!["-d".into(), "-c".into(), settings.into()];
        let (name, guard, environment) = ("tinyproxy".to_owned(), binaries().lab.clone(), Vec::new());
        let program = Program { name, guard, path, arguments, environment, log: scratch.join("stderr.log") };
        let process = program.start().unwrap();
        let listens = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("tinyproxy listens");
        Some(Self { address, process, scratch, _reserved: reserved })
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("tinyproxy.log")).unwrap()
    }

    /// Ends it.
    pub(crate) async fn end(mut self) {
        self.process.kill().await.unwrap();
        self.scratch.remove().unwrap();
    }
}
