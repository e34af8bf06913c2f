//! Wrong settings and a port in use: one message, the right exit code, and nothing created.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use weir_tests::binaries;

fn run(program: &Path, settings: &Path) -> Output {
    Command::new(program).args(["run", "--config"]).arg(settings).output().unwrap()
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a program with these settings and expects the exit code, each of the texts on stderr, and no new file.
fn refuses(program: &Path, settings: &str, code: i32, texts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    fs::write(&file, settings.replace("DIR", &dir.path().display().to_string())).unwrap();
    let output = run(program, &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for text in texts {
        assert!(said.contains(text), "expected {text:?} in:\n{said}");
    }
    assert_eq!(files(dir.path()), ["settings.toml"], "nothing was created");
}

#[test]
fn an_unknown_key_of_the_gateway_is_shown_with_its_place() {
    let settings = "data = \"DIR/data\"\n\n[mqtt]\nlisten = \"127.0.0.1:0\"\nlissten = 1\n";
    refuses(&binaries().gateway, settings, 78, &["settings.toml:5:1", "lissten", "^"]);
}

#[test]
fn a_wrong_unit_of_the_gateway_is_shown_with_its_place() {
    let settings = "data = \"DIR/data\"\ndrain = \"10 parsecs\"\n";
    refuses(&binaries().gateway, settings, 78, &["settings.toml:2:9", "parsecs", "^"]);
}

#[test]
fn an_unknown_key_of_the_agent_is_shown_with_its_place() {
    let settings = "data_dir = \"DIR/data\"\n\n[queue]\ncapp = \"1 MiB\"\n";
    refuses(&binaries().agent, settings, 78, &["settings.toml:4:1", "capp", "^"]);
}

#[test]
fn a_wrong_unit_of_the_agent_is_shown_with_its_place() {
    let settings = "data_dir = \"DIR/data\"\n\n[queue]\ncap = \"1 MegaBit\"\n";
    refuses(&binaries().agent, settings, 78, &["settings.toml:4:7", "MegaBit", "^"]);
}

#[test]
fn a_port_in_use_stops_the_gateway_before_it_creates_anything() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for taken in ["mqtt", "http", "kafka"] {
        let mut settings = "data = \"DIR/data\"\n".to_owned();
        for port in ["mqtt", "http", "kafka"] {
            let listen = if port == taken { address.to_string() } else { "127.0.0.1:0".to_owned() };
            settings += &format!("[{port}]\nlisten = \"{listen}\"\n");
        }
        refuses(&binaries().gateway, &settings, 69, &[&address.to_string()]);
    }
}
