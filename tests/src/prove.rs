//! `weir-lab prove`, run as a person runs it.

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value as Json;
use weir_lab::deployment::Deployment;

use crate::{binaries, seed};

/// Runs it until it ends by itself; what it printed, and its report.
pub fn prove(arguments: &[&str]) -> (Output, Json, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("proof");
    let mut command = Command::new(&binaries().lab);
    command.arg("prove").args(arguments).args(["--seed", &seed().to_string(), "--report"]).arg(&report);
    let output = command.output().expect("weir-lab starts");
    let read = |extension: &str| std::fs::read_to_string(report.with_extension(extension)).unwrap_or_default();
    let json = serde_json::from_str(&read("json")).unwrap_or_default();
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, json, read("html"))
}

/// The same against a gateway of the test's own, while `meanwhile` goes on; the gateway runs when it returns.
pub async fn prove_against(
    deployment: &mut Deployment,
    gateway: SocketAddr,
    arguments: &[&str],
    meanwhile: impl AsyncFnOnce(&mut Deployment),
) -> (Output, Json, String) {
    let (http, kafka) = (deployment.http.to_string(), deployment.kafka.to_string());
    let named = ["--gateway".to_owned(), gateway.to_string(), "--http".to_owned(), http, "--kafka".to_owned(), kafka];
    let arguments: Vec<String> = named.into_iter().chain(arguments.iter().map(|text| (*text).to_owned())).collect();
    let mut running = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        prove(&arguments)
    });
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        () = meanwhile(deployment) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    deployment.gateway.start().expect("the gateway starts");
    deployment.wait_for_gateway().await.expect("the gateway is ready");
    ended.expect("weir-lab was run")
}
