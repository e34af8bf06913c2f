//! The program itself, with settings in a file, its log and its signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::secure::PATIENCE;

/// A gateway that runs as a process. It is killed when this is dropped.
pub(crate) struct Program {
    dir: TempDir,
    data: PathBuf,
    child: Child,
    /// What it logs.
    lines: mpsc::UnboundedReceiver<Value>,
    pub(crate) mqtt: SocketAddr,
    pub(crate) kafka: SocketAddr,
}

/// Runs the program to its end.
pub(crate) fn weir(arguments: &[&str], settings: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    command.args(arguments).arg("--config").arg(settings).stdin(Stdio::null()).output().unwrap()
}

/// Writes settings with a data directory of their own beside them; the file.
pub(crate) fn settings(dir: &Path, data: &Path, rest: &str) -> PathBuf {
    let path = dir.join("gateway.toml");
    let ports = "mqtt.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nkafka.listen = \"127.0.0.1:0\"\n";
    std::fs::write(&path, format!("data = {data:?}\n{ports}{rest}")).unwrap();
    path
}

impl Program {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::start_on(dir, data, rest).await
    }

    /// The same with a data directory of its own, and `dir` for its settings.
    pub(crate) async fn start_on(dir: TempDir, data: PathBuf, rest: &str) -> Self {
        let path = settings(dir.path(), &data, rest);
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
        command.args(["run", "--config"]).arg(path).env_remove("WEIR_LOG");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self { dir, data, child, lines, mqtt: nowhere, kafka: nowhere };
        let ready = program.says("ready").await;
        let at = |port: &str| ready[port].as_str().unwrap().parse().unwrap();
        (program.mqtt, program.kafka) = (at("mqtt"), at("kafka"));
        program
    }

    /// Waits until it logs something; the line.
    pub(crate) async fn says(&mut self, what: &str) -> Value {
        let said = async {
            loop {
                let line = self.lines.recv().await.unwrap_or_else(|| panic!("it ended and never said {what:?}"));
                if line.to_string().contains(what) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it never said {what:?}"))
    }

    /// Writes other settings and tells the program (SIGHUP).
    pub(crate) fn reload(&self, rest: &str) {
        settings(self.dir.path(), &self.data, rest);
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// Types a command beside it, with something on stdin.
    pub(crate) async fn command(&self, arguments: &'static [&'static str], input: &'static str) {
        use std::io::Write;
        let settings = self.dir.path().join("gateway.toml");
        let typed = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
            command.args(arguments).arg("--config").arg(settings);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{arguments:?}");
        };
        tokio::task::spawn_blocking(typed).await.unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
