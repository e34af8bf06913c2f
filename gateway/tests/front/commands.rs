//! The binary: exit codes, messages, and what it leaves behind.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use weir_gateway::mqtt::packet::Version::V4;

use crate::script::{Answered, Client, connect, publish};
use crate::world::Gateway;

/// Runs the binary to its end.
fn weir(arguments: &[&str], settings: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    command.args(arguments).arg("--config").arg(settings).env_remove("WEIR_LOG");
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A settings file in a directory of its own, whose data would be beside it.
fn settings(rest: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    let data = dir.path().join("data");
    std::fs::write(&path, format!("data = {data:?}\n{rest}")).unwrap();
    (dir, path)
}

#[test]
fn a_mistake_in_the_settings_is_pointed_at_and_nothing_is_created() {
    let cases = [
        ("[mqtt]\nlisten = \"127.0.0.1:0\"\nlissten = 1\n", ":4:1: unknown key `lissten`", "did you mean `listen`?"),
        ("drain = 10\n", ":2:9: ", "got 10 without a unit"),
        ("[mqtt]\nreceive_maximum = 1\n", ":3:19: mqtt.receive_maximum: got 1, expected 2 to 65535", "^"),
        ("[http]\nlisten = \"0.0.0.0:0\"\n", ":3:10: http.listen: 0.0.0.0:0 can be reached", "insecure = true"),
        (
            "[kafka]\nlisten = \"192.0.2.1:9092\"\n",
            ":3:10: kafka.listen: 192.0.2.1:9092 can be reached from other machines, and there is no TLS",
            "set kafka.tls = true; or listen on 127.0.0.1:9092",
        ),
        (
            "[access]\nkafka = \"open\"\n[kafka]\ntls = true\nlisten = \"192.0.2.1:9092\"\n",
            ":6:10: kafka.listen: 192.0.2.1:9092 can be reached from other machines, and there is no authentication",
            "clear access.kafka, or set it to \"required\"",
        ),
        (
            "[mqtt]\nlisten = \"192.0.2.1:1883\"\n",
            ":3:10: mqtt.listen: 192.0.2.1:1883 can be reached from other machines, and there is no TLS",
            "listen with TLS, mqtt.tls_listen = \"ADDRESS:8883\", and here on 127.0.0.1:1883",
        ),
        (
            "[access]\nmqtt = \"open\"\n[mqtt]\ntls_listen = \"192.0.2.1:8883\"\n",
            ":5:14: mqtt.tls_listen: 192.0.2.1:8883 can be reached from other machines, and there is no authentication",
            "clear access.mqtt",
        ),
        (
            "[[access.rule]]\nclients = \"*\"\npublish = [\"a/{owner}\"]\n",
            ":4:12: access.rule: \"a/{owner}\": no placeholder `{owner}`",
            "^",
        ),
        (
            "[tls]\ncertificate = \"gateway.pem\"\n",
            ":3:15: tls: a certificate and its key come together",
            "set tls.key = \"/etc/weir/gateway.key\", too",
        ),
        (
            "[kafka]\ntls = true\n[tls]\ncertificate = \"/none/gateway.pem\"\nkey = \"/none/gateway.key\"\n",
            ":5:15: tls.certificate: cannot read /none/gateway.pem: No such file or directory",
            "each in a PEM file",
        ),
        (
            "[http]\ntls = true\n",
            ":3:7: http.tls: there is no certificate for TLS",
            "`weir-gateway ca init --server-name NAME`",
        ),
        ("[kafka.users]\nalice = \"hunter2\"\n", ":3:9: ", "`weir-gateway user add NAME` prints it"),
        (
            "[topics]\nretention_bytes = \"1 GiB\"\n",
            ":3:19: topics.retention_bytes: got 1 GiB, expected at least 2 GiB",
            "two segments of 256 MiB for each of 4 partitions: lower topics.segment",
        ),
        (
            "[topics]\nsegment = \"1 MiB\"\nretention_bytes = \"40 MiB\"\npartition_cap = \"10 MiB\"\n",
            ":4:19: topics.retention_bytes: 10 MiB a partition is not below topics.partition_cap = 10 MiB",
            "raise the cap",
        ),
        ("[limits]\ndevices = 0\n", ":3:11: limits.devices: got 0, expected 1 to 100000000", "^"),
        ("[topics]\npartitions = 65\n", ":3:14: topics.partitions: got 65, expected 1 to 64", "^^"),
    ];
    for (text, place, help) in cases {
        let (dir, path) = settings(text);
        for command in ["run", "validate"] {
            let output = weir(&[command], &path);
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{message}");
            assert!(message.contains(&format!("{}{place}", path.display())), "{message}");
            assert!(message.contains(help) && message.contains('^'), "{message}");
            assert_eq!(stdout(&output), "");
        }
        assert!(!dir.path().join("data").exists());
    }
}

#[test]
fn a_port_in_use_is_told_what_to_type_and_nothing_is_created() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    for (key, other) in [("mqtt", "http"), ("http", "mqtt")] {
        let (dir, path) = settings(&format!("[{key}]\nlisten = \"{at}\"\n[{other}]\nlisten = \"127.0.0.1:0\"\n"));
        let output = weir(&["run"], &path);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{message}");
        assert!(message.contains(&format!("cannot listen on {at} ({key}.listen)")), "{message}");
        assert!(message.contains(&format!("ss -ltnp 'sport = :{}'", at.port())), "{message}");
        assert!(!dir.path().join("data").exists());
    }
}

#[test]
fn without_data_the_reading_commands_say_what_to_start() {
    let (dir, path) = settings("");
    for command in [vec!["topic", "list"], vec!["topic", "verify"], vec!["deadletter", "list"]] {
        let output = weir(&command, &path);
        assert_eq!(output.status.code(), Some(69));
        assert!(stderr(&output).contains("weir-gateway run"), "{}", stderr(&output));
    }
    assert_eq!(weir(&["topic", "lst"], &path).status.code(), Some(2));
    assert!(!dir.path().join("data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reading_commands_answer_the_same_beside_a_gateway_and_without_one() {
    let gateway = Gateway::start().await;
    crate::whole::publish_v4(
        &gateway,
        "edge-1",
        vec![("describe", crate::world::description("pump-1")), ("batch", crate::world::batch("pump-1", 0..5))],
    )
    .await;
    let path = gateway.data.path().join("gateway.toml");
    std::fs::write(&path, format!("data = {:?}\n", gateway.data.path())).unwrap();
    let ask = |path: std::path::PathBuf| {
        tokio::task::spawn_blocking(move || {
            let commands: [&[&str]; 5] = [
                &["topic", "list"],
                &["topic", "describe", "readings", "--output", "json"],
                &["topic", "consume", "readings", "--from", "1", "--limit", "3"],
                &["topic", "consume", "readings", "--from", "10m", "--output", "json"],
                &["deadletter", "list"],
            ];
            commands.map(|command| {
                let output = weir(command, &path);
                assert_eq!(output.status.code(), Some(0), "{command:?}: {}", stderr(&output));
                without_sizes(&stdout(&output))
            })
        })
    };
    let beside = ask(path.clone()).await.unwrap();
    assert_eq!(beside[2].lines().count(), 3, "{}", beside[2]);
    assert!(beside[2].lines().next().unwrap().ends_with("pump-1 7/1  temperature = 1.0 Cel"), "{}", beside[2]);
    assert_eq!(beside[3].lines().count(), 5, "{}", beside[3]);

    // A second gateway on the same data is refused, and says who has it.
    let second = {
        let path = path.clone();
        let free =
            "\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n[kafka]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(&path, format!("data = {:?}{free}", gateway.data.path())).unwrap();
        tokio::task::spawn_blocking(move || weir(&["run"], &path)).await.unwrap()
    };
    assert_eq!(second.status.code(), Some(69));
    assert!(stderr(&second).contains("in use by another gateway"), "{}", stderr(&second));

    let data = gateway.stop().await;
    assert_eq!(ask(path.clone()).await.unwrap(), beside);

    let log = (0..4)
        .map(|partition| data.path().join(format!("topics/readings/{partition}/00000000000000000000.log")))
        .find(|file| file.exists())
        .unwrap();

    // A torn tail is not shown, and a command that only looks does not cut it off.
    let torn = [std::fs::read(&log).unwrap(), vec![0x5a; 100]].concat();
    std::fs::write(&log, &torn).unwrap();
    assert_eq!(ask(path.clone()).await.unwrap()[1..], beside[1..]);
    assert_eq!(std::fs::read(&log).unwrap(), torn);

    // A flipped bit: named by file and offsets, and everything else is served.
    let gateway = Gateway::start_on(data).await;
    crate::whole::publish_v4(&gateway, "edge-1", vec![("batch", crate::world::batch("pump-1", 5..9))]).await;
    let data = gateway.stop().await;
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let output = weir(&["topic", "verify", "readings"], &path);
    assert_eq!(output.status.code(), Some(1));
    let named = format!("{} at byte 0", log.display());
    assert!(stdout(&output).contains(&named), "{}", stdout(&output));
    assert!(stdout(&output).contains("offsets 0 to 4 lost (5)"), "{}", stdout(&output));
    let rest = stdout(&weir(&["topic", "consume", "readings"], &path));
    assert!(rest.starts_with("damage: offsets 0 to 5"), "{rest}");
    assert_eq!(rest.lines().count(), 5, "{rest}");
    drop(data);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_topics_that_the_gateway_keeps_for_itself_is_found_too() {
    let gateway = Gateway::start().await;
    let mut agent = Client::dial_tcp(gateway.at.mqtt, V4).await;
    agent.send(&connect(V4, "edge-1", 0, None)).await;
    assert_eq!(agent.answer().await, Answered::Connected(0));
    // Twice: damage with nothing behind it would be a torn tail.
    for id in [1, 2] {
        agent.send(&publish(V4, "weir/1/default/edge-1/status", 1, id, b"{}")).await;
        assert_eq!(agent.answer().await, Answered::Acknowledged(id, 0));
    }
    let data = gateway.stop().await;
    let path = data.path().join("gateway.toml");
    std::fs::write(&path, format!("data = {:?}\n", data.path())).unwrap();
    let all = weir(&["topic", "verify"], &path);
    assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
    for topic in ["weir.offsets", "weir.sessions", "weir.retained", "weir.access", "weir.audit"] {
        assert!(stdout(&all).contains(&format!("{topic}/0: ")), "{}", stdout(&all));
    }
    let log = data.path().join("topics/weir.retained/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let output = weir(&["topic", "verify", "weir.retained"], &path);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let named = format!("{} at byte 0", log.display());
    assert!(stdout(&output).contains(&named), "{}", stdout(&output));
    let output = weir(&["topic", "verify", "weir.nothing"], &path);
    assert!(stderr(&output).contains("weir.retained"), "{}", stderr(&output));
}

/// A log that was closed has its index beside it, so it takes other room than beside its gateway.
fn without_sizes(text: &str) -> String {
    let words = text.split_inclusive([' ', ',']);
    let mut words = words.peekable();
    let mut out = String::new();
    while let Some(word) = words.next() {
        let is_size = word.contains("\"bytes\":") || words.peek().is_some_and(|next| next.starts_with("bytes"));
        out.push_str(if is_size { "_ " } else { word });
    }
    out
}

#[test]
fn a_user_is_added_by_a_line_that_the_settings_take() {
    let (_dir, path) = settings("kafka.listen = \"192.0.2.1:9092\"\n");
    let add = |name: &str, password: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
        command.args(["user", "add", name]).args(more).arg("--config").arg(&path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have refused the rest already, without reading.
        let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
        child.wait_with_output().unwrap()
    };
    // Also while the settings are refused because there is no user yet.
    let mut lines = String::new();
    for (name, password) in [("alice", "pencil\n"), ("o'brien, \"jr\"", "p\u{e4}ssword")] {
        let output = add(name, password, &["--iterations", "4096"]);
        assert!(output.status.success(), "{}", stderr(&output));
        lines += std::str::from_utf8(&output.stdout).unwrap();
    }
    assert!(lines.starts_with("alice = \"SCRAM-SHA-256$4096:"), "{lines}");
    let (_dir, with_users) = settings(&format!("[kafka.users]\n{lines}"));
    let output = weir(&["validate"], &with_users);
    assert!(output.status.success(), "{}", stderr(&output));

    for (name, password, more, said) in [
        ("alice", "", &[][..], "got a password of 0 bytes"),
        ("", "pencil", &[], "got \"\", expected a name"),
        ("alice", "pencil", &["--iterations", "10"], "--iterations: got 10, expected 4096 to 1000000"),
    ] {
        let output = add(name, password, more);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
