//! The sections `[remote]` and `[[command]]`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use weir_protocol::name::Name;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use super::keys::PublicKey;
use crate::config::check::{at_least, unwritten};
use crate::glob;

/// The most keys that are trusted.
const MAX_KEYS: usize = 16;
/// The most commands that are allowed.
const MAX_COMMANDS: usize = 64;
/// The most words of a command, and arguments that are handed to it.
const MAX_WORDS: usize = 32;
/// The longest argument, in bytes.
const MAX_ARG: usize = 256;
/// The longest time that a command may take.
const MAX_TIMEOUT: Period = Period::secs(3600);
/// Commands that are there without a section.
pub const BUILT_IN: [&str; 2] = ["ping", "reload"];
/// What a remote document may not say: who this agent is, whose word it takes, and what runs on this machine.
pub const LOCAL_ONLY: [&str; 5] = ["name", "data_dir", "remote", "command", "exec"];

/// Refuses settings of a document that only the machine itself decides on.
///
/// # Errors
/// [`SettingsError`] at its place.
pub fn check_from_afar(source: &Source) -> Result<(), SettingsError> {
    match source.keys()?.into_iter().find(|(key, _)| LOCAL_ONLY.contains(&key.as_str())) {
        Some((key, place)) => {
            let help =
                format!("keep it in the settings file of the machine; from afar nobody sets {}", LOCAL_ONLY.join(", "));
            Err(source.error(place, format!("`{key}` is decided on the machine itself")).with_help(help))
        }
        None => Ok(()),
    }
}

/// Remote configuration and commands: off without a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteConfig {
    /// The public keys of operators.
    pub trust: Spanned<Vec<PublicKey>>,
    /// How long new settings may take to show that they work.
    pub confirm: Spanned<Period>,
}

/// One command that an operator may have run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// What it is called in documents.
    pub name: Spanned<Name>,
    /// The program, with its whole path, and its first arguments.
    pub run: Spanned<Vec<String>>,
    /// A pattern for each argument that a document must hand in; they follow those of `run`.
    #[serde(default)]
    pub args: Vec<String>,
    /// It is killed after this.
    #[serde(default = "default_timeout")]
    pub timeout: Spanned<Period>,
}

fn default_timeout() -> Spanned<Period> {
    unwritten(Period::secs(30))
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self { trust: unwritten(Vec::new()), confirm: unwritten(Period::secs(120)) }
    }
}

impl RemoteConfig {
    /// Whether anybody is trusted.
    pub fn is_on(&self) -> bool {
        !self.trust.get_ref().is_empty()
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`SettingsError`] at its place.
    pub fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let keys = self.trust.get_ref().len();
        if keys > MAX_KEYS {
            return Err(source.error(self.trust.span(), format!("got {keys} keys, expected at most {MAX_KEYS}")));
        }
        at_least(source, &self.confirm, Period::secs(1))
    }
}

impl CommandConfig {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`SettingsError`] at its place.
    pub fn check_all(commands: &[Self], source: &Source) -> Result<(), SettingsError> {
        let mut names = BTreeSet::new();
        for (at, command) in commands.iter().enumerate() {
            let refuse = |message: String| Err(source.error(command.name.span(), message));
            if at == MAX_COMMANDS {
                return refuse(format!("got {} commands, expected at most {MAX_COMMANDS}", commands.len()));
            }
            let name = command.name.get_ref();
            if BUILT_IN.contains(&name.as_str()) {
                return refuse(format!("{name} is built in; give this command another name"));
            }
            if !names.insert(*name) {
                return refuse(format!("there are two commands {name}; remove one"));
            }
            let run = command.run.get_ref();
            if !run.first().is_some_and(|program| Path::new(program).is_absolute()) {
                let help =
                    "write the whole path of the program, such as run = [\"/usr/bin/systemctl\", \"restart\", \"x\"]";
                return Err(source.error(command.run.span(), "got no absolute path").with_help(help));
            }
            if run.len() > MAX_WORDS || command.args.len() > MAX_WORDS {
                let message =
                    format!("got {} and {} words, expected at most {MAX_WORDS}", run.len(), command.args.len());
                return Err(source.error(command.run.span(), message));
            }
            let timeout = command.timeout.get_ref();
            if !(Period::millis(100)..=MAX_TIMEOUT).contains(timeout) {
                let message = format!("got {timeout}, expected 100ms to {MAX_TIMEOUT}");
                return Err(source.error(command.timeout.span(), message));
            }
        }
        Ok(())
    }

    /// The words to run with these arguments.
    ///
    /// # Errors
    /// Which argument is not allowed.
    pub fn words(&self, args: &[String]) -> Result<Vec<String>, String> {
        if args.len() != self.args.len() {
            return Err(format!("got {} arguments, expected {}", args.len(), self.args.len()));
        }
        for (arg, pattern) in args.iter().zip(&self.args) {
            // What begins with a dash is an option to most programs, which a pattern must mean.
            let is_option = arg.starts_with('-') && !pattern.starts_with('-');
            let is_long = arg.len() > MAX_ARG || arg.contains('\0');
            if is_option || is_long || !glob::fits(pattern, arg) {
                return Err(format!("argument {arg:?} does not fit {pattern:?}"));
            }
        }
        Ok(self.run.get_ref().iter().chain(args).cloned().collect())
    }

    /// How long it may take.
    pub fn patience(&self) -> Duration {
        self.timeout.get_ref().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arguments_that_fit_their_pattern_are_handed_to_a_command() {
        let text = "name = \"restart\"\nrun = [\"/bin/systemctl\", \"restart\"]\nargs = [\"wan*\", \"*\"]\n";
        let command: CommandConfig = Source::new("test", text).parse().unwrap();
        let words = |args: &[&str]| command.words(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["wan0", "; reboot"]).unwrap(), ["/bin/systemctl", "restart", "wan0", "; reboot"]);
        for args in [&["wan0"][..], &["lan0", "x"], &["wan0", "--force"], &["wan0", "a\0b"], &["wan0", "x", "y"]] {
            assert!(words(args).is_err(), "{args:?}");
        }
        assert!(words(&["wan0", &"x".repeat(257)]).is_err());
    }
}
