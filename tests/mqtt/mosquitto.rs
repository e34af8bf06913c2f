//! mosquitto_pub and mosquitto_sub, which are programs already.

use std::collections::VecDeque;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use weir_tests::{PATIENCE, skip};

use crate::secured::Secured;
use crate::stage::Stage;

/// The versions, as they call them.
const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

/// How a line begins that shows a message.
const MESSAGES: &str = "plant/";

/// Line by line: into a pipe, mosquitto_sub would say nothing until its buffer is full.
fn command(program: &str, stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new("stdbuf");
    command
        .args(["-oL", program])
        .args(["-h", &stage.mqtt.ip().to_string(), "-p", &stage.mqtt.port().to_string()])
        .args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Publishes, and waits for the end of the program; `None`, said loudly, if it is not installed.
async fn publish(stage: &Stage, arguments: &[&str]) -> Option<Output> {
    let output = command("mosquitto_pub", stage, arguments).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("mosquitto_pub ends").unwrap();
    // What stdbuf says of a program that is not there.
    if output.status.code() == Some(127) {
        skip("mosquitto_pub is not installed; type: apt-get install mosquitto-clients");
        return None;
    }
    Some(output)
}

/// A subscriber that runs.
struct Subscriber {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What came in front of SUBACK: whoever has a session already gets what it missed at once.
    early: VecDeque<String>,
}

impl Subscriber {
    /// Starts it and waits until it is subscribed, which it says with `-d`.
    async fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let mut child = command("mosquitto_sub", stage, &[arguments, &["-d"]].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut subscriber = Self { child, lines, early: VecDeque::new() };
        loop {
            let line = subscriber.line().await;
            if line.starts_with("Subscribed") {
                return subscriber;
            }
            subscriber.early.extend(Some(line).filter(|line| line.starts_with(MESSAGES)));
        }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it says something");
        line.unwrap().expect("it goes on")
    }

    /// The next message as `-v` shows it.
    async fn message(&mut self) -> String {
        if let Some(line) = self.early.pop_front() {
            return line;
        }
        let message = async {
            loop {
                let line = self.line().await;
                if line.starts_with(MESSAGES) {
                    return line;
                }
            }
        };
        // It says something about its pings for ever.
        tokio::time::timeout(PATIENCE, message).await.expect("a message comes")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_publishes_at_each_qos_and_subscribes() {
    let stage = Stage::new().await;
    let Some(_) = publish(&stage, &["-t", "plant/none", "-m", "x"]).await else { return };
    for version in VERSIONS {
        let watching = ["-V", version, "-i", "watcher", "-v", "-q", "2", "-t", "plant/+/temperature"];
        let mut watcher = Subscriber::start(&stage, &watching).await;
        for qos in ["0", "1", "2"] {
            let said = ["-V", version, "-q", qos, "-t", "plant/press/temperature", "-m", qos];
            let output = publish(&stage, &said).await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(watcher.message().await, format!("plant/press/temperature {qos}"));
        }
        watcher.child.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_mosquitto_sub_outlives_a_kill_of_the_gateway() {
    let mut stage = Stage::new().await;
    let Some(_) = publish(&stage, &["-t", "plant/none", "-m", "x"]).await else { return };
    for (version, durable) in [("mqttv311", vec!["-c"]), ("mqttv5", vec!["-c", "-x", "3600"])] {
        let session = [&["-V", version, "-i", version, "-v", "-q", "1", "-t", "plant/#"][..], &durable].concat();
        let mut subscriber = Subscriber::start(&stage, &session).await;
        subscriber.child.kill().await.unwrap();
        for number in ["1", "2", "3"] {
            // One client, so one partition: nothing is promised about the order of several.
            let said = ["-V", version, "-i", "counter", "-q", "1", "-t", "plant/count", "-m", number];
            publish(&stage, &said).await.unwrap();
        }
        stage.kill_gateway().await;
        let mut subscriber = Subscriber::start(&stage, &session).await;
        for number in ["1", "2", "3"] {
            assert_eq!(subscriber.message().await, format!("plant/count {number}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mosquitto_retains_and_wills_is_kept() {
    let stage = Stage::new().await;
    for version in VERSIONS {
        let Some(output) = publish(&stage, &["-V", version, "-r", "-q", "1", "-t", "plant/mode", "-m", version]).await
        else {
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut late = Subscriber::start(&stage, &["-V", version, "-v", "-t", "plant/mode"]).await;
        assert_eq!(late.message().await, format!("plant/mode {version}"));

        let mut watcher = Subscriber::start(&stage, &["-V", version, "-v", "-t", "plant/will"]).await;
        let will = ["-V", version, "-t", "plant/none", "--will-topic", "plant/will", "--will-payload", "gone"];
        let mut mortal = Subscriber::start(&stage, &will).await;
        mortal.child.kill().await.unwrap();
        assert_eq!(watcher.message().await, "plant/will gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_shows_its_certificate() {
    let secured = Secured::new().await;
    let told = |id: &str, name: Option<&str>, more: &[&str]| {
        let more = more.iter().map(|more| (*more).to_owned());
        secured.mosquitto(id, name).into_iter().chain(more).collect::<Vec<_>>()
    };
    for version in VERSIONS {
        let said = ["-V", version, "-q", "2", "-t", "plant/press-4/x", "-m", version];
        let watching = told("press-3", Some("press-3"), &["-V", version, "-v", "-q", "1", "-t", "plant/#"]);
        let publishing = async |id: &str, name: Option<&str>| {
            let arguments = told(id, name, &said);
            publish(&secured.stage, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
        };
        let Some(refused) = publishing("press-4", None).await else { return };
        assert!(!refused.status.success(), "{version}: nobody without a certificate");
        assert!(
            !publishing("press-4", Some("press-5")).await.unwrap().status.success(),
            "{version}: nor with another's"
        );
        let watching: Vec<_> = watching.iter().map(String::as_str).collect();
        let mut watcher = Subscriber::start(&secured.stage, &watching).await;
        let output = publishing("press-4", Some("press-4")).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(watcher.message().await, format!("plant/press-4/x {version}"));
        watcher.child.kill().await.unwrap();
    }
    assert_eq!(secured.stage.stored().await.len(), VERSIONS.len());
}
