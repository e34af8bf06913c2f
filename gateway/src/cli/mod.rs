//! The command line.
//!
//! Data goes to stdout, as text for people or as JSON (`--output json`); everything else to stderr. Exit codes:
//! 0, 1 the command failed or found damage, 2 it was misspelt, 69 what it needs is not available, 78 the
//! settings are wrong. Beside a running gateway the commands go through its socket, which its user and root may open; else they
//! read the files and change nothing, but for users and tokens. `topic verify` always reads the files.

mod acl;
mod admin;
mod arguments;
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

use std::process::ExitCode;

use clap::Parser;
use weir_protocol::settings::SettingsError;

use crate::config::{Config, DEFAULT_PATH};
use arguments::{
    AclCommand, AclTestArgs, Cli, Command, ConsumeArgs, DeadLetterCommand, DeviceCommand, ModelCommand, MoveArgs,
    Output, RedriveArgs, RunArgs, SchemaCheckArgs, SchemaCommand, TokenCommand, TopicCommand, UserCommand,
};
use print::Printer;

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
