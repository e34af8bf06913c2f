//! What may be typed: commands, what they take, and what `--help` says of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ca::CaCommand;
use super::group::GroupCommand;
use super::session::SessionCommand;
use crate::access::Role;

/// Takes batches of readings over MQTT, keeps them in a durable topic log, and serves them over Kafka and HTTP.
#[derive(Debug, Parser)]
#[command(name = "weir-gateway", version, max_term_width = 100)]
pub(super) struct Cli {
    /// The settings file; without it /etc/weir/gateway.toml, or the defaults if there is none.
    #[arg(long, global = true, value_name = "PATH", env = "WEIR_GATEWAY_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// How to print data.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Lines for people.
    Text,
    /// One JSON value per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
    Group(GroupCommand),
    /// MQTT clients that are connected or away: look at their sessions, delete one.
    #[command(subcommand)]
    Session(SessionCommand),
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
    Ca(CaCommand),
    /// What people and programs show to act over HTTP and Kafka, and devices to get a certificate.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Which topics clients may use.
    #[command(subcommand)]
    Acl(AclCommand),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Plant a fault, for tests that must catch it.
    #[cfg(feature = "plant")]
    #[arg(long, value_name = "FAULT")]
    pub(super) plant: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
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
pub(super) struct ConsumeArgs {
    /// The name of the topic, such as readings.
    pub(super) topic: String,
    /// Where to begin: earliest, latest, an offset, a time ago such as 10m, or a time such as
    /// 2026-11-21T08:30:00Z.
    #[arg(long, default_value = "earliest", value_name = "WHERE")]
    pub(super) from: String,
    /// Only this partition.
    #[arg(long, value_name = "NUMBER")]
    pub(super) partition: Option<usize>,
    /// Stop after so many records.
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<u64>,
    /// Go on with what comes; needs a running gateway.
    #[arg(long)]
    pub(super) follow: bool,
    /// Go on where this group has come to, and write down how far it comes; --from counts only where it has not been.
    #[arg(long, value_name = "NAME")]
    pub(super) group: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
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
pub(super) struct RedriveArgs {
    /// Partition and offset as `list` prints them, such as 2:17; several if you like.
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(super) places: Vec<String>,
    /// Only those that were buried for this reason, such as unknown-schema.
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// Only those with readings of this device.
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Option<String>,
    /// All of them.
    #[arg(long)]
    pub(super) all: bool,
    /// Say what would be tried, and store nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// Its name.
    pub(super) device: String,
    /// The agent that may write it from now on.
    #[arg(long, value_name = "AGENT")]
    pub(super) to: String,
    /// Whose device it is.
    #[arg(long, default_value = "default")]
    pub(super) tenant: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
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
pub(super) enum SchemaCommand {
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
pub(super) struct SchemaCheckArgs {
    /// A description: JSON, or the payload of a describe message. Without it the stored ones of the device are shown.
    pub(super) file: Option<PathBuf>,
    /// The device, if the file does not name it.
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Fill it again from the logs; the gateway is stopped.
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
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
pub(super) enum TokenCommand {
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
pub(super) struct TokenArgs {
    /// What it may do: viewer, operator or admin.
    #[arg(long, value_name = "ROLE", required_unless_present = "enroll", conflicts_with = "enroll")]
    pub(super) role: Option<Role>,
    /// Instead: good for one certificate, for this name, or one that matches it if there is a `*` in it.
    #[arg(long, value_name = "NAME")]
    pub(super) enroll: Option<String>,
    /// The only tenant that it is good for.
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,
    /// How long it is good, such as 1h or 30d; for ever without.
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<String>,
    /// What people call it.
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AclCommand {
    /// Say whether a client may, and by which rule of the settings; exit code 1 if not.
    Test(AclTestArgs),
}

#[derive(Debug, Args)]
pub(super) struct AclTestArgs {
    /// The client id.
    #[arg(long, value_name = "CLIENT")]
    pub(super) client: String,
    /// Its tenant; `default` without.
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,
    /// A topic that it wants to publish on.
    #[arg(long, value_name = "TOPIC", required_unless_present = "subscribe", conflicts_with = "subscribe")]
    pub(super) publish: Option<String>,
    /// A topic filter that it wants to subscribe to.
    #[arg(long, value_name = "FILTER")]
    pub(super) subscribe: Option<String>,
}
