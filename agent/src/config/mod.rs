//! The settings file of the agent. Every key has a default; the whole table is in `agent/README.md`, a
//! commented sample in `deploy/agent.toml`.
//!
//! Reading and checking settings changes nothing on disk.

mod address;
mod local;
mod queue;
mod uplink;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_protocol::name::Name;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};
use weir_protocol::{AgentId, DeviceId};

use crate::remote::ledger::Overlay;
use crate::remote::settings::{CommandConfig, RemoteConfig};
pub use address::Address;
pub use local::{LocalConfig, Ports};
pub use queue::{ClassConfig, QueueConfig};
pub use uplink::{Mqtt, UplinkConfig};

/// Where the settings are unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/weir/agent.toml";
/// What variables of the environment that override settings begin with.
pub const ENVIRONMENT_PREFIX: &str = "WEIR_AGENT_";

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the agent and its MQTT client id.
    pub name: AgentId,
    /// Where queue and state are kept.
    pub data_dir: PathBuf,
    /// How long to go on shipping after SIGTERM.
    pub drain: Period,
    /// The queue on disk.
    pub queue: QueueConfig,
    /// The way to the gateway.
    pub uplink: UplinkConfig,
    /// Serial lines.
    pub serial: Vec<SerialConfig>,
    /// This machine as a device.
    pub system: SystemConfig,
    /// The local port.
    pub local: LocalConfig,
    /// Whose signed settings and commands are obeyed.
    pub remote: RemoteConfig,
    /// What they may have run.
    pub command: Vec<CommandConfig>,
}

/// One serial line, or as many as match a pattern.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// A path; `*` and `?` in its last part match.
    pub path: Spanned<String>,
    /// Bits per second.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Time between two looks for lines that came.
    #[serde(default = "default_poll")]
    pub poll: Period,
}

/// This machine as a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemConfig {
    /// Whether this machine is a device.
    pub enabled: bool,
    /// Its name.
    pub device: DeviceId,
    /// Time between two samples.
    pub interval: Spanned<Period>,
    /// Readings kept in memory while the queue takes none.
    pub ring: Spanned<u32>,
    /// What `/proc` and `/sys` are below; for tests.
    pub root: PathBuf,
    /// Filesystems to measure.
    pub disks: Spanned<Vec<PathBuf>>,
}

const fn default_baud() -> u32 {
    115_200
}

const fn default_poll() -> Period {
    Period::millis(500)
}

/// A default stands nowhere in the file.
pub(crate) fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// Refuses a time that is shorter than `least`.
pub(crate) fn at_least(source: &Source, period: &Spanned<Period>, least: Period) -> Result<(), SettingsError> {
    match period.get_ref() {
        got if *got < least => Err(source.error(period.span(), format!("got {got}, expected {least} or more"))),
        _ => Ok(()),
    }
}

/// The name of this machine, as far as it can be a name.
fn host_name() -> Name {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-:".contains(c) { c } else { '-' };
    let text: String = node.trim_start_matches('.').chars().map(allowed).take(40).collect();
    Name::new(&text).unwrap_or(
        const {
            match Name::new("agent") {
                Ok(name) => name,
                Err(_) => unreachable!(),
            }
        },
    )
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: AgentId(host_name()),
            data_dir: PathBuf::from("/var/lib/weir/agent"),
            drain: Period::secs(10),
            queue: QueueConfig::default(),
            uplink: UplinkConfig::default(),
            serial: Vec::new(),
            system: SystemConfig::default(),
            local: LocalConfig::default(),
            remote: RemoteConfig::default(),
            command: Vec::new(),
        }
    }
}

impl Default for SystemConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            device: DeviceId(host_name()),
            interval: unwritten(Period::secs(10)),
            ring: unwritten(4096),
            root: PathBuf::from("/"),
            disks: unwritten(vec![PathBuf::from("/")]),
        }
    }
}

impl Config {
    /// Reads and checks a settings file, with the environment over it.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let source = Source::read(path)?.with_overrides(ENVIRONMENT_PREFIX, std::env::vars());
        Self::of(&source)
    }

    /// The same with settings that an operator signed laid over the file, if anybody is trusted there.
    pub fn load_with(path: &Path, overlay: Option<&Overlay>) -> Result<Self, SettingsError> {
        let config = Self::load(path)?;
        let Some(overlay) = overlay.filter(|_| config.remote.is_on()) else { return Ok(config) };
        let source = Source::read(path)?.with_overlay(overlay.name(), &overlay.settings);
        Self::of(&source.with_overrides(ENVIRONMENT_PREFIX, std::env::vars()))
    }

    /// Reads and checks settings.
    pub fn of(source: &Source) -> Result<Self, SettingsError> {
        let config: Self = source.parse()?;
        config.check(source)?;
        config.remote.check(source)?;
        CommandConfig::check_all(&config.command, source)?;
        Ok(config)
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let least = |period, least| at_least(source, period, least);
        self.queue.check(source)?;
        least(&self.queue.checkpoint, Period::millis(100))?;
        least(&self.system.interval, Period::millis(1))?;
        self.uplink.check(source)?;
        let ring = self.system.ring.get_ref();
        if !(256..=1 << 20).contains(ring) {
            let message = format!("got {ring} readings, expected 256 to 1048576");
            return Err(source.error(self.system.ring.span(), message));
        }
        if self.system.disks.get_ref().len() > 16 {
            let message = format!("got {} filesystems, expected at most 16", self.system.disks.get_ref().len());
            return Err(source.error(self.system.disks.span(), message));
        }
        self.local.check(source)?;
        for (at, serial) in self.serial.iter().enumerate() {
            let path = serial.path.get_ref();
            if !path.starts_with('/') || path.ends_with('/') {
                let help = "write the whole path of a line, such as \"/dev/ttyACM*\"";
                return Err(source.error(serial.path.span(), format!("got {path:?}")).with_help(help));
            }
            if self.serial[..at].iter().any(|other| other.path.get_ref() == path) {
                return Err(source.error(serial.path.span(), "this line is there twice").with_help("remove one"));
            }
        }
        Ok(())
    }
}
