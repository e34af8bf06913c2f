//! The command line. Data goes to stdout, logs to stderr.
//!
//! Exit codes: 0 good, 1 failed at run time, 2 wrong usage, 69 something needed is not available, 78 wrong
//! settings (sysexits.h).

mod enroll;
mod logging;
mod once;
mod ports;
mod queue;
mod start;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, DEFAULT_PATH};
use crate::transfer::Form;
use weir_protocol::DeviceId;

/// Reads sensors, keeps what they say on disk, and ships it to the gateway.
#[derive(Debug, Parser)]
#[command(name = "weir-agent", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM, which ships what is queued and then stops; a second one stops at once
    Run(RunArgs),
    /// Check the settings and change nothing
    Validate(Settings),
    /// Take one reading of every source and print them; needs no gateway and keeps nothing
    Once(OnceArgs),
    /// List the serial lines of this machine
    Ports(Output),
    /// Look at the queue on disk
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Get a certificate from the gateway, with a token of `weir-gateway token create --enroll`; the key is made here
    Enroll(EnrollArgs),
}

#[derive(Debug, Args)]
struct EnrollArgs {
    #[command(flatten)]
    settings: Settings,
    /// The HTTP port of the gateway
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// The token, good for once
    #[arg(long, env = "WEIR_ENROLL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: String,
    /// The name to be certified; that of the settings without it
    #[arg(long)]
    name: Option<String>,
    /// The gateway's authority, a PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "ca_fingerprint")]
    ca: Option<PathBuf>,
    /// The SHA-256 of the gateway's authority, as `weir-gateway ca show` prints it
    #[arg(long, value_name = "SHA256")]
    ca_fingerprint: Option<String>,
    /// Replace the identity that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Say what is in the queue; works beside a running agent, whose checkpoint may be some seconds old
    Stat(StatArgs),
    /// List what is held of each device and restart; works beside a running agent
    Inspect(StatArgs),
    /// Check every record and file; works beside a running agent; exits 1 if something is damaged
    Verify(StatArgs),
    /// Write what can be read of a damaged queue again, and keep the damaged files in queue/damaged; stop the agent first
    Repair(StatArgs),
    /// Take readings out of the queue into a file or directory; stop the agent first, or leave them with --copy
    Export(ExportArgs),
    /// Put an export into the queue of this box; stop the agent first
    Import(ImportArgs),
}

#[derive(Debug, Args)]
struct Settings {
    /// The settings file
    #[arg(long, env = "WEIR_CONFIG", value_name = "PATH", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Output {
    /// How to print data
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one JSON document
    Json,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    settings: Settings,
    /// Read the settings again when the file changes, as on SIGHUP; wrong ones change nothing
    #[arg(long)]
    watch_config: bool,
    /// Plant a fault; only in builds made for the lab
    #[cfg(feature = "plant")]
    #[arg(long, value_enum, value_name = "FAULT")]
    plant: Option<crate::plant::Plant>,
}

#[derive(Debug, Args)]
struct OnceArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
    /// How long to wait for serial devices, such as 10s
    #[arg(long, value_name = "TIME", default_value = "10s")]
    wait: weir_protocol::settings::Period,
}

#[derive(Debug, Args)]
struct StatArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
    /// The file or directory to make; it must not exist
    target: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Form::Ndjson)]
    format: Form,
    /// Only what this device sampled
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceId>,
    /// Leave everything in the queue; works beside a running agent
    #[arg(long)]
    copy: bool,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
    /// The file or directory that an export made
    source: PathBuf,
}

/// How a command ended, other than well.
enum Failure {
    /// At run time.
    Failed(String),
    /// Something needed is not available.
    Unavailable(String),
    /// The settings are wrong.
    Settings(String),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    let done = match cli.command {
        Command::Run(args) => load(&args.settings).and_then(|config| start::run(config, &args)),
        Command::Validate(settings) => {
            load(&settings).and_then(|_| print(&format!("{}: the settings are good", settings.config.display())))
        }
        Command::Once(args) => {
            load(&args.settings).and_then(|config| once::run(config, args.wait.0, args.output.output))
        }
        Command::Ports(output) => ports::run(output.output),
        Command::Queue(command) => queue::run(command),
        Command::Enroll(args) => load(&args.settings).and_then(|config| enroll::run(&config, &args)),
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

fn load(settings: &Settings) -> Result<Config, Failure> {
    Config::load(&settings.config).map_err(|error| Failure::Settings(error.to_string()))
}

/// Prints data as one JSON document.
fn print_json(data: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(data).map_err(|error| Failure::Failed(error.to_string()))?;
    print(&text)
}

/// Prints a line of data. A reader that has seen enough (`| head`) is no failure.
fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Failed(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}
