//! The command line.
//!
//! Data goes to stdout, as text for people or as JSON (`--output json`); everything else to stderr. Exit codes:
//! 0, 1 the command failed or found damage, 2 it was misspelt, 69 what it needs is not available, 78 the
//! settings are wrong. Beside a running gateway the commands go through its socket, which its user and root may open; else they
//! read the files and change nothing, but for users and tokens. `topic verify` always reads the files.

mod acl;
mod admin;
mod ca;
mod client;
mod consume;
mod dead_letters;
mod descriptors;
mod device;
mod group;
mod logs;
mod print;
mod redrive;
mod schema;
mod session;
mod source;
mod start;
mod token;
mod topic;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use weir_protocol::settings::SettingsError;

use crate::access::Role;
use crate::config::{Config, DEFAULT_PATH};
use print::Printer;

/// Takes batches of readings over MQTT, keeps them in a durable topic log, and serves them over Kafka and HTTP.
#[derive(Debug, Parser)]
#[command(name = "weir-gateway", version, max_term_width = 100)]
struct Cli {
    /// The settings file; without it /etc/weir/gateway.toml, or the defaults if there is none.
    #[arg(long, global = true, value_name = "PATH", env = "WEIR_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// How to print data.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Lines for people.
    Text,
    /// One JSON value per line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C.
    Run(RunArgs),
    /// Check the settings; creates nothing.
    Validate,
    /// Look at the topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Look at what could not be stored as readings, and try it again after a fix.
    #[command(subcommand)]
    Deadletter(DeadLetterCommand),
    /// Groups of consumers: look at them, set where they go on.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// MQTT clients that are connected or away: look at their sessions, delete one.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Look at devices: latest values, restarts, and what became of their readings.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Look at the schemas of the topics, and at how descriptions of devices may change.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// The read model that devices are shown from.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Who may come with a name and a password: readers over Kafka, and devices over MQTT.
    #[command(subcommand)]
    User(UserCommand),
    /// The gateway's own authority, which says who a client is: certificates of clients and of the gateway.
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// What people and programs show to act over HTTP and Kafka, and devices to get a certificate.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Which topics clients may use.
    #[command(subcommand)]
    Acl(AclCommand),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Plant a fault, for tests that must catch it.
    #[cfg(feature = "plant")]
    #[arg(long, value_name = "FAULT")]
    plant: Option<String>,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// List the topics.
    List,
    /// Show the partitions of a topic.
    Describe {
        /// Its name, such as readings.
        topic: String,
    },
    /// Print the records of a topic.
    Consume(ConsumeArgs),
    /// Check the files of a topic, or of all, and name every damage by file, position and offsets.
    Verify {
        /// Its name; all topics without it.
        topic: Option<String>,
    },
}

#[derive(Debug, Args)]
struct ConsumeArgs {
    /// The name of the topic, such as readings.
    topic: String,
    /// Where to begin: earliest, latest, an offset, a time ago such as 10m, or a time such as
    /// 2026-11-21T08:30:00Z.
    #[arg(long, default_value = "earliest", value_name = "WHERE")]
    from: String,
    /// Only this partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
    /// Stop after so many records.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Go on with what comes; needs a running gateway.
    #[arg(long)]
    follow: bool,
    /// Go on where this group has come to, and write down how far it comes; --from counts only where it has not been.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

#[derive(Debug, Subcommand)]
enum DeadLetterCommand {
    /// One line for each dead letter.
    List {
        /// Stop after so many.
        #[arg(long, value_name = "COUNT")]
        limit: Option<u64>,
    },
    /// One dead letter with its original bytes.
    Show {
        /// Partition and offset as `list` prints them, such as 2:17.
        place: String,
    },
    /// Try dead letters again, after what was wrong was put right; needs a running gateway. Doing it twice is harmless.
    Redrive(RedriveArgs),
}

#[derive(Debug, Args)]
struct RedriveArgs {
    /// Partition and offset as `list` prints them, such as 2:17; several if you like.
    #[arg(value_name = "PARTITION:OFFSET")]
    places: Vec<String>,
    /// Only those that were buried for this reason, such as unknown-schema.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those with readings of this device.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Say what would be tried, and store nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct MoveArgs {
    /// Its name.
    device: String,
    /// The agent that may write it from now on.
    #[arg(long, value_name = "AGENT")]
    to: String,
    /// Whose device it is.
    #[arg(long, default_value = "default")]
    tenant: String,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// One line for each device.
    List,
    /// One device: latest values, restarts and counts, and the agent that it is bound to.
    Show {
        /// Its name.
        device: String,
    },
    /// Bind a device to another agent: only that one may write it from now on.
    Move(MoveArgs),
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// One line for each: its id and its subject, which is the topic and -value.
    List,
    /// One schema, as clients get it.
    Show {
        /// A subject, a topic or an id.
        schema: String,
    },
    /// Say which channels of a description would break a rule; exit code 1 if one does.
    Check(SchemaCheckArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct SchemaCheckArgs {
    /// A description: JSON, or the payload of a describe message. Without it the stored ones of the device are shown.
    file: Option<PathBuf>,
    /// The device, if the file does not name it.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Fill it again from the logs; the gateway is stopped.
    Rebuild,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Reads a password from stdin and prints the line of the settings that lets NAME read over Kafka; with --mqtt, lets the
    /// device NAME connect, at once.
    Add {
        /// The name of the user.
        name: String,
        /// A device that connects over MQTT: it may, or its password is replaced, at once.
        #[arg(long)]
        mqtt: bool,
        /// Whose device it is; `default` without.
        #[arg(long, value_name = "TENANT", requires = "mqtt")]
        tenant: Option<String>,
        /// The client ids that it may take, with `*` for any characters; its own name without.
        #[arg(long, value_name = "PATTERN", requires = "mqtt")]
        clients: Option<String>,
        /// Of a reader: how often the password is hashed, which is what a login, and a guess, costs.
        #[arg(long, default_value_t = 15_000, value_name = "COUNT", conflicts_with = "mqtt")]
        iterations: u32,
    },
    /// Lists the users of MQTT.
    List,
    /// Removes a user of MQTT and disconnects it.
    Remove {
        /// The name of the user.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a token and shows it, once.
    Create(TokenArgs),
    /// Lists the tokens.
    List,
    /// Ends a token, and the connections that it let in.
    Revoke {
        /// Its id, as `list` prints it.
        id: String,
    },
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// What it may do: viewer, operator or admin.
    #[arg(long, value_name = "ROLE", required_unless_present = "enroll", conflicts_with = "enroll")]
    role: Option<Role>,
    /// Instead: good for one certificate, for this name, or one that matches it if there is a `*` in it.
    #[arg(long, value_name = "NAME")]
    enroll: Option<String>,
    /// The only tenant that it is good for.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// How long it is good, such as 1h or 30d; for ever without.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// What people call it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// Say whether a client may, and by which rule of the settings; exit code 1 if not.
    Test(AclTestArgs),
}

#[derive(Debug, Args)]
struct AclTestArgs {
    /// The client id.
    #[arg(long, value_name = "CLIENT")]
    client: String,
    /// Its tenant; `default` without.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// A topic that it wants to publish on.
    #[arg(long, value_name = "TOPIC", required_unless_present = "subscribe", conflicts_with = "subscribe")]
    publish: Option<String>,
    /// A topic filter that it wants to subscribe to.
    #[arg(long, value_name = "FILTER")]
    subscribe: Option<String>,
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    pub(crate) fn runtime(message: impl ToString) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl ToString) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// What there is to say was printed.
    pub(crate) fn said() -> Self {
        Self::runtime("")
    }

    pub(crate) fn unavailable(message: impl ToString) -> Self {
        Self { code: 69, message: message.to_string() }
    }
}

impl From<SettingsError> for Failed {
    fn from(error: SettingsError) -> Self {
        Self { code: 78, message: error.to_string() }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        // Whoever reads our output has seen enough: `| head` is no failure.
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 };
        Self { code, message: error.to_string() }
    }
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code: 0, .. }) => ExitCode::SUCCESS,
        Err(Failed { code, message }) if message.is_empty() => ExitCode::from(code),
        Err(Failed { code, message }) => {
            eprintln!("weir-gateway: {message}");
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failed> {
    let mut printer = Printer::new(cli.output);
    if let Command::User(UserCommand::Add { name, iterations, mqtt: false, .. }) = &cli.command {
        return user::add(name, *iterations, &mut printer);
    }
    // Naming the settings file is no setting.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "WEIR_GATEWAY_CONFIG");
    let config = match cli.command {
        Command::Run(_) | Command::Validate => Config::load_with_files(cli.config.as_deref(), variables)?,
        _ => Config::load(cli.config.as_deref(), variables)?,
    };
    match cli.command {
        Command::Run(args) => start::run(&config, &args),
        Command::Validate => {
            let path = cli.config.unwrap_or_else(|| DEFAULT_PATH.into());
            printer.line(format_args!("{}: the settings are good", path.display()), &serde_json::json!({"valid": true}))
        }
        Command::Topic(TopicCommand::List) => topic::list(&config, &mut printer),
        Command::Topic(TopicCommand::Describe { topic }) => topic::describe(&config, &topic, &mut printer),
        Command::Topic(TopicCommand::Consume(args)) => consume::consume(&config, &args, &mut printer),
        Command::Topic(TopicCommand::Verify { topic }) => topic::verify(&config, topic.as_deref(), &mut printer),
        Command::Deadletter(DeadLetterCommand::List { limit }) => dead_letters::list(&config, limit, &mut printer),
        Command::Deadletter(DeadLetterCommand::Redrive(args)) => redrive::redrive(&config, &args, &mut printer),
        Command::Group(command) => group::run(&config, &command, &mut printer),
        Command::Session(command) => session::run(&config, &command, &mut printer),
        Command::Device(DeviceCommand::List) => device::list(&config, &mut printer),
        Command::Device(DeviceCommand::Move(args)) => device::transfer(&config, &args, &mut printer),
        Command::Device(DeviceCommand::Show { device }) => device::show(&config, &device, &mut printer),
        Command::Schema(SchemaCommand::List) => schema::list(&config, &mut printer),
        Command::Schema(SchemaCommand::Show { schema }) => schema::show(&config, &schema, &mut printer),
        Command::Schema(SchemaCommand::Check(args)) => schema::check(&config, &args, &mut printer),
        Command::Model(ModelCommand::Rebuild) => device::rebuild(&config, &mut printer),
        Command::Deadletter(DeadLetterCommand::Show { place }) => dead_letters::show(&config, &place, &mut printer),
        Command::Ca(command) => ca::run(&config, &command, &mut printer),
        Command::User(command) => user::of_mqtt(&config, &command, &mut printer),
        Command::Token(command) => token::run(&config, &command, &mut printer),
        Command::Acl(AclCommand::Test(args)) => acl::test(&config, &args, &mut printer),
    }
}

/// Runs a short command that talks to a gateway.
fn block_on<T>(command: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
