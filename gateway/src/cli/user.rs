//! `user`: who may come with a name and a password.
//!
//! Without `--mqtt`, `add` prints the line of the settings that lets somebody read over Kafka; it needs no settings and no
//! running gateway: an address that others can reach is only lawful once there is a user. With `--mqtt` the user is a device
//! and goes into `weir.access`, beside a running gateway and a stopped one alike, and holds at once. The password is hashed
//! here and never travels.

use std::io::{self, IsTerminal, Read, Write};
use std::num::NonZeroU32;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::admin::Admin;
use super::print::{Printer, bare};
use super::{Failed, UserCommand};
use crate::access::Door;
use crate::access::admin::NewUser;
use crate::access::password::Phc;
use crate::config::Config;
use crate::kafka::auth::{ITERATIONS, MOST_PASSWORD, MOST_USER_NAME, Secret};

const SALT_BYTES: usize = 16;

/// Changes or lists the users of MQTT.
pub(super) fn of_mqtt(config: &Config, command: &UserCommand, printer: &mut Printer) -> Result<(), Failed> {
    match command {
        UserCommand::Add { name, tenant, clients, .. } => {
            let phc = Phc::of(password(name)?.as_bytes(), &SystemRandom::new()).map_err(Failed::runtime)?;
            let (password, tenant, clients) = (phc.as_str().to_owned(), tenant.clone(), clients.clone());
            let user = NewUser { name: name.clone(), password, tenant, clients };
            Admin::with(config, async |admin| admin.set_user(user).await)?;
            if config.access_settings().mqtt == Door::Open {
                eprintln!("Clients without a password may come, too: set mqtt = \"required\" in the table [access].");
            }
            printer.line(format_args!("user {name} may connect"), &json!({"user": name}))
        }
        UserCommand::Remove { name } => {
            Admin::with(config, async |admin| admin.remove_user(name).await)?;
            printer.line(format_args!("user {name} may not connect any more"), &json!({"user": name, "removed": true}))
        }
        UserCommand::List => {
            for user in Admin::with(config, async |admin| admin.users().await)? {
                let text = |key: &str| bare(&user[key]);
                let line = format!("{:<24} tenant {:<16} clients {}", text("user"), text("tenant"), text("clients"));
                printer.line(line, &user)?;
            }
            Ok(())
        }
    }
}

/// Reads a password.
fn password(name: &str) -> Result<String, Failed> {
    let password = if io::stdin().is_terminal() { ask(name)? } else { piped()? };
    if password.is_empty() || password.len() > MOST_PASSWORD || password.contains('\0') {
        let expected = format!("expected 1 to {MOST_PASSWORD} without NUL");
        return Err(Failed::usage(format!("got a password of {} bytes, {expected}", password.len())));
    }
    Ok(password)
}

/// Reads a password and prints what the settings need of it.
pub(super) fn add(name: &str, iterations: u32, printer: &mut Printer) -> Result<(), Failed> {
    if name.is_empty() || name.len() > MOST_USER_NAME || name.contains(char::is_control) {
        let expected = format!("expected a name of 1 to {MOST_USER_NAME} bytes without control characters");
        return Err(Failed::usage(format!("got {name:?}, {expected}")));
    }
    let counted = NonZeroU32::new(iterations).filter(|count| ITERATIONS.contains(&count.get())).ok_or_else(|| {
        let (low, high) = (ITERATIONS.start(), ITERATIONS.end());
        Failed::usage(format!("--iterations: got {iterations}, expected {low} to {high}"))
    })?;
    let password = password(name)?;
    let mut salt = vec![0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| Failed::runtime("no randomness from the system"))?;
    let secret = Secret::of(password.as_bytes(), counted, salt).to_string();
    eprintln!("This line goes into the table [kafka.users] of the settings; SIGHUP makes a running gateway read it.");
    printer.line(format_args!("{} = \"{secret}\"", key(name)), &json!({"name": name, "secret": secret}))
}

/// A key of a TOML table, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.bytes().all(is_bare) { name.to_owned() } else { json!(name).to_string() }
}

/// One line, or everything up to the end, without the line's end.
fn piped() -> Result<String, Failed> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST_PASSWORD as u64 + 3).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| Failed::usage("the password is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Asks twice, without showing what is typed.
fn ask(name: &str) -> Result<String, Failed> {
    let _silence = Silence::new()?;
    let mut answers = [String::new(), String::new()];
    for (question, answer) in ["Password of ", "Again: password of "].into_iter().zip(&mut answers) {
        eprint!("{question}{name}: ");
        io::stderr().flush()?;
        // A terminal hands over a line of 4096 bytes at the most.
        io::stdin().read_line(answer)?;
        eprintln!();
    }
    let [first, again] = answers;
    if first != again {
        return Err(Failed::usage("the two are not the same; nothing was made"));
    }
    Ok(first.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until it is dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn new() -> Result<Self, Failed> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).map_err(io::Error::from)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
