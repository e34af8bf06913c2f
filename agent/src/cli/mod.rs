//! The command line. Data goes to stdout, logs to stderr.
//!
//! Exit codes: 0 good, 1 failed at run time, 2 wrong usage, 69 something needed is not available, 78 wrong
//! settings (sysexits.h).

mod arguments;
mod bundle;
mod doctor;
mod enroll;
pub mod fuzz;
mod generate;
mod logging;
mod once;
mod owner;
mod ports;
mod queue;
mod show;
mod sign;
mod start;
mod tap;
mod top;
mod validate;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::config::Config;
use crate::remote::InForce;
use arguments::{Cli, Command, Settings};

/// How a command ended, other than well.
enum Failure {
    /// At run time.
    Failed(String),
    /// Something needed is not available.
    Unavailable(String),
    /// The settings are wrong.
    Settings(String),
}

/// Everything that can be typed.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    let done = match cli.command {
        Command::Run(args) => load_file(&args.settings).and_then(|config| start::run(config, &args)),
        Command::Validate(args) => validate::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => args.command.as_ref().map_or_else(generate::sample, sign::run),
        Command::Once(args) => {
            load(&args.settings).and_then(|config| once::run(config, args.wait.0, args.output.output))
        }
        Command::Ports(output) => ports::run(output.output),
        Command::Queue(command) => queue::run(command),
        Command::Enroll(args) => load(&args.settings).and_then(|config| enroll::run(&config, &args)),
        Command::Completions { shell } => generate::completions(shell),
        Command::Man { dir } => generate::man(dir.as_deref()),
    };
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Unavailable(message)) => (69, message),
        Err(Failure::Settings(message)) => (78, message),
    };
    eprintln!("{message}");
    ExitCode::from(code)
}

/// The settings of the file alone.
fn load_file(settings: &Settings) -> Result<Config, Failure> {
    Config::load(&settings.config).map_err(|error| Failure::Settings(error.to_string()))
}

/// The settings as an agent runs with them; that an operator set some is said.
fn load(settings: &Settings) -> Result<Config, Failure> {
    let found = in_force(settings)?;
    if let Some(note) = found.note(&settings.config) {
        eprintln!("{note}");
    }
    Ok(found.config)
}

fn in_force(settings: &Settings) -> Result<InForce, Failure> {
    InForce::load(&settings.config).map_err(|error| Failure::Settings(error.to_string()))
}

/// What asks the network or a running agent.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::Failed(format!("cannot start: {error}")))
}

/// Prints data as one JSON document.
fn print_json(data: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(data).map_err(|error| Failure::Failed(error.to_string()))?;
    print(&text)
}

/// Prints a line of data. A reader that has seen enough (`| head`) is no failure.
fn print(line: &str) -> Result<(), Failure> {
    written(writeln!(std::io::stdout(), "{line}"))
}

fn written(printed: std::io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Failed(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}
