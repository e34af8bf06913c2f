//! The settings file of the agent. Every key has a default; the whole table is in `agent/README.md`, a
//! commented sample in `deploy/agent.toml`.
//!
//! Reading and checking settings changes nothing on disk.

mod address;
mod budget;
pub(crate) mod check;
mod encryption;
mod hours;
mod local;
mod proxy;
mod queue;
mod setting;
mod uplink;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use weir_protocol::AgentId;
use weir_protocol::settings::{Period, SettingsError, Source};

use crate::processing::{self, ProcessConfig};
use crate::remote::ledger::Overlay;
use crate::remote::settings::{CommandConfig, RemoteConfig};
use crate::source::exec::{self, ExecConfig};
use crate::source::i2c::{self, I2cConfig};
use crate::source::iio::{self, IioConfig};
use crate::source::line_protocol::LineProtocolConfig;
use crate::source::modbus::{self, ModbusConfig};
use crate::source::mqtt::{self, MqttConfig};
use crate::source::serial::{self, SerialConfig};
use crate::source::system::SystemConfig;
pub use address::Address;
pub use budget::BudgetConfig;
use check::{at_least, host_name, unwritten};
pub use encryption::{EncryptionConfig, KeyError};
pub use hours::{DAY, Hours, UtcOffset};
pub use local::{LocalConfig, Ports};
pub use proxy::Proxy;
pub use queue::{ClassConfig, QueueConfig};
pub use setting::Setting;
pub use uplink::{GatewayConfig, Mqtt, UplinkConfig};

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
    #[serde(deserialize_with = "check::whole_path")]
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
    /// Devices behind Modbus.
    pub modbus: Vec<ModbusConfig>,
    /// Brokers of the local network.
    pub mqtt: Vec<MqttConfig>,
    /// A port for InfluxDB line protocol.
    pub line_protocol: Option<LineProtocolConfig>,
    /// Sensors that the kernel drives.
    pub iio: Vec<IioConfig>,
    /// Sensors on I2C buses.
    pub i2c: Vec<I2cConfig>,
    /// Programs that print readings.
    pub exec: Vec<ExecConfig>,
    /// What becomes of readings before they are queued.
    pub process: Vec<ProcessConfig>,
    /// The local port.
    pub local: LocalConfig,
    /// Whose signed settings and commands are obeyed.
    pub remote: RemoteConfig,
    /// What they may have run.
    pub command: Vec<CommandConfig>,
    /// The version of the settings that an operator signed and that are laid over the file.
    #[serde(skip)]
    pub overlay: Option<u64>,
    /// What of all this was written, and by whom.
    #[serde(skip)]
    pub written: Arc<[Setting]>,
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
            modbus: Vec::new(),
            mqtt: Vec::new(),
            line_protocol: None,
            iio: Vec::new(),
            i2c: Vec::new(),
            exec: Vec::new(),
            process: Vec::new(),
            local: LocalConfig::default(),
            remote: RemoteConfig::default(),
            command: Vec::new(),
            overlay: None,
            written: Arc::default(),
        }
    }
}

impl Config {
    /// Reads and checks a settings file, with the environment over it.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        Self::of(&Self::source(path, None)?)
    }

    /// The settings of a file with what is laid over it, not looked into yet.
    pub fn source(path: &Path, overlay: Option<&Overlay>) -> Result<Source, SettingsError> {
        let mut source = Source::read(path)?;
        if let Some(overlay) = overlay {
            source = source.with_overlay(overlay.name(), &overlay.settings);
        }
        Ok(source.with_overrides(ENVIRONMENT_PREFIX, std::env::vars()))
    }

    /// The same with settings that an operator signed laid over the file, if anybody is trusted there.
    pub fn load_with(path: &Path, overlay: Option<&Overlay>) -> Result<Self, SettingsError> {
        let config = Self::load(path)?;
        let Some(overlay) = overlay.filter(|_| config.remote.is_on()) else { return Ok(config) };
        Ok(Self { overlay: Some(overlay.version), ..Self::of(&Self::source(path, Some(overlay))?)? })
    }

    /// Reads and checks settings.
    pub fn of(source: &Source) -> Result<Self, SettingsError> {
        let mut config: Self = source.parse()?;
        config.check(source)?;
        config.remote.check(source)?;
        CommandConfig::check_all(&config.command, source)?;
        config.written = Setting::all(source)?.into();
        Ok(config)
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        self.queue.check(source)?;
        at_least(source, &self.queue.checkpoint, Period::millis(100))?;
        self.uplink.check(source)?;
        self.uplink.budget.check(source, &self.queue)?;
        processing::settings::check(&self.process, source, |class| self.queue.class_named(class).is_some())?;
        self.local.check(source)?;
        serial::settings::check(&self.serial, source)?;
        self.system.check(source)?;
        modbus::check(&self.modbus, source)?;
        mqtt::check(&self.mqtt, source)?;
        self.line_protocol.iter().try_for_each(|port| port.check(source))?;
        iio::settings::check(&self.iio, source)?;
        i2c::settings::check(&self.i2c, source)?;
        exec::settings::check(&self.exec, source)?;
        Ok(())
    }
}
