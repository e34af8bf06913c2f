//! `weir-lab`: see the library. Exit codes: 0 everything holds, 1 it does not or cannot be told, 2 usage.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use weir_lab::cli::{Cli, Command};
use weir_lab::{bench, board, load, process, prove, qemu, soak, up};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<bool> {
    match command {
        Command::Board(options) => board::run(&options).map(|()| true),
        Command::Guard { parent, command } => process::guard(parent, &command).map(|()| true),
        Command::CodecLoop(options) => runtime()?.block_on(bench::codec_loop::run(&options)).map(|()| true),
        Command::Load(options) => runtime()?.block_on(load::run(&options)),
        Command::Rumqttd(options) => bench::rumqttd::run(&options).map(|()| true),
        Command::Bench(options) => runtime()?.block_on(bench::run(&options)),
        Command::Prove(options) => runtime()?.block_on(prove::run(&options)),
        Command::Soak(options) => runtime()?.block_on(soak::run(&options)),
        Command::Lm3s6965(options) => runtime()?.block_on(qemu::run(&options)).map(|()| true),
        Command::Up(options) => runtime()?.block_on(up::run(&options)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
