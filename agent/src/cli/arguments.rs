//! What may be typed: commands, what they take, and what `--help` says of it. Every command's help ends with an example,
//! which a test types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use weir_protocol::DeviceId;
use weir_protocol::name::Name;
use weir_protocol::settings::Period;

use crate::config::DEFAULT_PATH;
use crate::remote::keys::PublicKey;
use crate::transfer::Form;

/// Reads sensors, keeps what they say on disk, and ships it to the gateway.
#[derive(Debug, Parser)]
#[command(
    name = "weir-agent",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 good, 1 failed at run time, 2 wrong usage, 69 something needed is not available, 78 wrong \
                  settings.\n\nExample:\n  weir-agent validate && weir-agent once"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run until SIGTERM, which ships what is queued and then stops; a second one stops at once
    #[command(after_help = "Example:\n  weir-agent run --config /etc/weir/agent.toml --watch-config")]
    Run(RunArgs),
    /// Check the settings and change nothing
    #[command(after_help = "Example:\n  weir-agent validate --config agent.toml")]
    Validate(SettingsArgs),
    /// Take one reading of every source and print them; needs no gateway and keeps nothing
    #[command(after_help = "Example:\n  weir-agent once --wait 5s --output json")]
    Once(OnceArgs),
    /// Watch the running agent: sources, rates, queue, and what the gateway acknowledged last; q leaves
    #[command(after_help = "Example:\n  sudo weir-agent top")]
    Top(TopArgs),
    /// Show readings as they pass the rules of the running agent: before, by which rule, after
    #[command(after_help = "Example:\n  sudo weir-agent tap --device board-1 --channel temp* --count 10")]
    Tap(TapArgs),
    /// Look for what is wrong with this machine, the settings and the way to the gateway, and say what to type; exits 1 if
    /// there is a problem
    #[command(after_help = "Example:\n  sudo weir-agent doctor")]
    Doctor(DoctorArgs),
    /// Collect what whoever helps will ask for into an archive: settings without secrets, checks, status, metrics, logs
    #[command(after_help = "Example:\n  sudo weir-agent bundle edge-1.tar.gz")]
    Bundle(BundleArgs),
    /// Print the settings file with every key, its default and what it means; show what is in force; or sign settings and
    /// commands for agents
    #[command(after_help = "Example:\n  weir-agent config > agent.toml")]
    Config(ConfigArgs),
    /// List the serial lines of this machine
    #[command(after_help = "Example:\n  weir-agent ports")]
    Ports(Output),
    /// Look at the queue on disk
    #[command(subcommand, after_help = "Example:\n  weir-agent queue stat")]
    Queue(QueueCommand),
    /// Get a certificate from the gateway, with a token of `weir-gateway token create --enroll`; the key is made here
    #[command(
        after_help = "Example:\n  weir-agent enroll --gateway https://gateway.example:8080 --token weir_t0k3n --ca ca.pem"
    )]
    Enroll(EnrollArgs),
    /// Print what makes a shell complete these commands
    #[command(
        after_help = "Example:\n  weir-agent completions bash > /usr/share/bash-completion/completions/weir-agent"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands into a directory
    #[command(after_help = "Example:\n  weir-agent man /usr/local/share/man/man1")]
    Man {
        /// The directory, which is made if it is not there
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say what the agent runs with and who set it: file, remote settings or environment; without one that runs, what it
    /// would start with
    #[command(after_help = "Example:\n  sudo weir-agent config show")]
    Show(SettingsArgs),
    /// Make a key to sign with, and print what agents know it by
    #[command(after_help = "Example:\n  weir-agent config keygen --key operator.key")]
    Keygen(KeygenArgs),
    /// Sign settings for agents; publish what is printed, retained, on weir/1/default/NAME/config
    #[command(
        after_help = "Example:\n  weir-agent config sign --key operator.key --agent edge-1 --version 7 changes.toml > 7.signed"
    )]
    Sign(SignArgs),
    /// Sign a command for agents; publish what is printed, retained, on weir/1/default/NAME/do/ID
    #[command(
        after_help = "Example:\n  weir-agent config sign-command --key operator.key --agent edge-1 --id ping-1 ping > ping.signed"
    )]
    SignCommand(SignCommandArgs),
    /// Say who signed a document, for whom and until when; exits 1 if the signature is wrong
    #[command(after_help = "Example:\n  weir-agent config verify 7.signed --output json")]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// The file to make
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The key, as `config keygen` made it
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Whom it is for: a name, or a pattern with * and ?
    #[arg(long, value_name = "NAME")]
    pub(super) agent: String,
    /// How long agents may begin with it: 30d for settings and 1h for commands without it
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<Period>,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// Higher than that of any document before
    #[arg(long, value_name = "NUMBER")]
    pub(super) version: u64,
    /// The settings: what is to be laid over the file of the agent
    pub(super) settings: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SignCommandArgs {
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// Its own, never used again; results name it
    #[arg(long, value_name = "NAME")]
    pub(super) id: Name,
    /// ping, reload, or the name of a [[command]] of the agent
    pub(super) name: String,
    /// What is handed to it
    pub(super) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// A public key that is trusted; those of remote.trust in the settings without it
    #[arg(long, value_name = "KEY")]
    pub(super) trust: Vec<PublicKey>,
    /// The signed document
    pub(super) file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct EnrollArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// The HTTP port of the gateway
    #[arg(long, value_name = "URL")]
    pub(super) gateway: String,
    /// The token, good for once
    #[arg(long, env = "WEIR_ENROLL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: String,
    /// The name to be certified; that of the settings without it
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The gateway's authority, a PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "ca_fingerprint")]
    pub(super) ca: Option<PathBuf>,
    /// The SHA-256 of the gateway's authority, as `weir-gateway ca show` prints it
    #[arg(long, value_name = "SHA256")]
    pub(super) ca_fingerprint: Option<String>,
    /// Replace the identity that is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Say what is in the queue; works beside a running agent, whose checkpoint may be a minute old
    #[command(after_help = "Example:\n  weir-agent queue stat --output json")]
    Stat(SettingsArgs),
    /// List what is held of each device and restart; works beside a running agent
    #[command(after_help = "Example:\n  weir-agent queue inspect")]
    Inspect(SettingsArgs),
    /// Check every record and file; works beside a running agent; exits 1 if something is damaged
    #[command(after_help = "Example:\n  weir-agent queue verify")]
    Verify(SettingsArgs),
    /// Write what can be read of a damaged queue again, and keep the damaged files in queue/damaged; stop the agent first
    #[command(after_help = "Example:\n  sudo -u weir-agent weir-agent queue repair")]
    Repair(SettingsArgs),
    /// Take readings out of the queue into a file or directory; stop the agent first, or leave them with --copy
    #[command(after_help = "Example:\n  weir-agent queue export edge-1.ndjson --device board-1 --copy")]
    Export(ExportArgs),
    /// Put an export into the queue of this box; stop the agent first
    #[command(after_help = "Example:\n  weir-agent queue import edge-1.ndjson")]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The settings file
    #[arg(long, env = "WEIR_CONFIG", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// How to print data
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs: one JSON document; of `tap`, one a line
    Json,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Read the settings again when the file changes, as on SIGHUP; wrong ones change nothing
    #[arg(long)]
    pub(super) watch_config: bool,
    /// Plant a fault; only in builds made for the lab
    #[cfg(feature = "plant")]
    #[arg(long, value_enum, value_name = "FAULT")]
    pub(super) plant: Option<crate::plant::Plant>,
}

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// How to print data; json prints the status once
    #[command(flatten)]
    pub(super) output: Output,
    /// Print one look as text and end; so it is into a pipe
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// The archive to make, which must not exist; weir-bundle-NAME-TIME.tar.gz here without it
    pub(super) target: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TapArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// Only devices that fit this pattern
    #[arg(long, value_name = "PATTERN")]
    pub(super) device: Option<String>,
    /// Only channels that fit this pattern, as the device calls them
    #[arg(long, value_name = "PATTERN")]
    pub(super) channel: Option<String>,
    /// End after so many
    #[arg(long, value_name = "NUMBER")]
    pub(super) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// How long each step towards a gateway may take, such as 3s
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub(super) patience: Period,
}

#[derive(Debug, Args)]
pub(super) struct OnceArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// How long to wait for serial devices, such as 10s
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) wait: Period,
}

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// The file or directory to make; it must not exist
    pub(super) target: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Form::Ndjson)]
    pub(super) format: Form,
    /// Only what this device sampled
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<DeviceId>,
    /// Leave everything in the queue; works beside a running agent
    #[arg(long)]
    pub(super) copy: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) output: Output,
    /// The file or directory that an export made
    pub(super) source: PathBuf,
}
