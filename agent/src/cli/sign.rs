//! `config keygen`, `sign`, `sign-command` and `verify`: what an operator makes at a desk, and what it says.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use weir_protocol::settings::Source;
use weir_protocol::time::{SystemClock, WallClock};

use super::arguments::{ConfigCommand, Format, KeyArgs, SignArgs, SignCommandArgs, VerifyArgs};
use super::{Failure, load_file, print, print_json, show};
use crate::config::Config;
use crate::remote::document::{Document, Header, SignedCommand, SignedConfig};
use crate::remote::keys::{PublicKey, SecretKey};
use crate::remote::settings::check_from_afar;

pub(super) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show(args) => show::run(args),
        ConfigCommand::Keygen(args) => keygen(&args.key),
        ConfigCommand::Sign(args) => sign(args),
        ConfigCommand::SignCommand(args) => sign_command(args),
        ConfigCommand::Verify(args) => verify(args),
    }
}

fn keygen(path: &Path) -> Result<(), Failure> {
    let key = SecretKey::generate(path).map_err(failed)?.public();
    eprintln!("{}: keep it secret. On each agent, in the settings: [remote] trust = [\"{key}\"]", path.display());
    print(&key.to_string())
}

fn sign(args: &SignArgs) -> Result<(), Failure> {
    let refused = |error: weir_protocol::settings::SettingsError| Failure::Settings(error.to_string());
    let source = Source::read(&args.settings).map_err(refused)?;
    source.parse::<Config>().map_err(refused)?;
    check_from_afar(&source).map_err(refused)?;
    let settings = std::fs::read_to_string(&args.settings).map_err(failed)?;
    let header = header(&args.key.agent, args.key.expires.map_or(MONTH, |period| period.0));
    finish(&Document::Config(SignedConfig { header, version: args.version, settings }), &args.key)
}

fn sign_command(args: &SignCommandArgs) -> Result<(), Failure> {
    let header = header(&args.key.agent, args.key.expires.map_or(HOUR, |period| period.0));
    let SignCommandArgs { id, name, args: words, key } = args;
    finish(&Document::Command(SignedCommand { header, id: *id, name: name.clone(), args: words.clone() }), key)
}

/// How long settings may wait for an agent that is away, unless somebody says otherwise.
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// The same for commands.
const HOUR: Duration = Duration::from_secs(3600);

fn header(agent: &str, life: Duration) -> Header {
    let issued = now();
    Header { agent: agent.to_owned(), issued, expires: issued.saturating_add_unsigned(life.as_secs()) }
}

fn finish(document: &Document, args: &KeyArgs) -> Result<(), Failure> {
    let key = SecretKey::read(&args.key).map_err(failed)?;
    print(document.sign(&key).map_err(failed)?.trim_end())
}

/// What `config verify` prints.
#[derive(Serialize)]
struct Verified<'a> {
    kind: &'static str,
    signed_by: String,
    agent: &'a str,
    issued: i64,
    expires: i64,
    is_expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<&'a str>>,
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let trusted: Vec<PublicKey> = match &args.trust[..] {
        [] => load_file(&args.settings)?.remote.trust.get_ref().clone(),
        trust => trust.to_vec(),
    };
    let payload = std::fs::read(&args.file);
    let payload = payload.map_err(|error| Failure::Failed(format!("{}: {error}", args.file.display())))?;
    let refused = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", args.file.display()));
    let document = Document::open(&payload, &trusted).map_err(|error| refused(&error))?;
    let signed_by = Document::signer(&payload).map_err(|error| refused(&error))?.to_string();
    let Header { agent, issued, expires } = document.header();
    let (issued, expires) = (*issued, *expires);
    let is_expired = now() > expires;
    let (kind, version, id, command) = match &document {
        Document::Config(config) => ("config", Some(config.version), None, None),
        Document::Command(command) => {
            let words = std::iter::once(&command.name).chain(&command.args).map(String::as_str).collect();
            ("command", None, Some(command.id.to_string()), Some(words))
        }
    };
    let verified = Verified { kind, signed_by, agent, issued, expires, is_expired, version, id, command };
    match args.output.output {
        Format::Json => print_json(&verified),
        Format::Text => {
            let what = match (&verified.command, version, &verified.id) {
                (Some(words), _, Some(id)) => format!("command  {} ({id})", words.join(" ")),
                _ => format!("settings version {}", version.unwrap_or_default()),
            };
            let seconds = expires.saturating_sub(now());
            let life = if is_expired { "expired".to_owned() } else { format!("good for {seconds} s more") };
            print(&format!("{what}\nagent    {agent}\nsigned   {}\nlife     {life}", verified.signed_by))
        }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemClock.now().as_millis().div_euclid(1000)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
