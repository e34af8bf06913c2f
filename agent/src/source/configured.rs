//! The sources that the settings name, each with the life that it lives.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::supervise::LifeError;
use super::worker::Thread;
use super::{Context, exec, i2c, iio, line_protocol, modbus, mqtt, system};
use crate::config::Config;

type Life = Pin<Box<dyn Future<Output = Result<(), LifeError>> + Send>>;

/// A source with feeds, ready to live.
pub struct Source {
    kind: &'static str,
    name: String,
    live: Box<dyn Fn(Context) -> Life + Send + Sync>,
}

impl Source {
    /// A source; `live` begins one life of it.
    pub fn new<F>(
        kind: &'static str,
        name: impl Into<String>,
        live: impl Fn(Context) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), LifeError>> + Send + 'static,
    {
        Self { kind, name: name.into(), live: Box::new(move |context| Box::pin(live(context))) }
    }

    /// The section of the settings.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What tells it from others of its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a life.
    pub fn live(&self, context: Context) -> Life {
        (self.live)(context)
    }
}

/// Every source but the serial lines, which have no feeds.
pub fn configured(config: &Config) -> Vec<Source> {
    let mut sources = Vec::new();
    if config.system.enabled {
        let settings = config.system.clone();
        let (name, thread) = (settings.device.to_string(), Thread::default());
        sources.push(Source::new("system", name, move |context| {
            system::run(settings.clone(), Arc::clone(&thread), context)
        }));
    }
    for settings in config.iio.clone() {
        let (name, thread) = (settings.device.get_ref().to_string(), Thread::default());
        sources.push(Source::new("iio", name, move |context| iio::run(settings.clone(), Arc::clone(&thread), context)));
    }
    for (settings, line) in config.modbus.iter().cloned().zip(modbus::lines(&config.modbus)) {
        let name = settings.device.get_ref().to_string();
        sources.push(Source::new("modbus", name, move |context| {
            modbus::run(settings.clone(), Arc::clone(&line), context)
        }));
    }
    for settings in config.mqtt.clone() {
        let (name, agent, session) =
            (settings.name.get_ref().to_string(), config.name, Arc::<mqtt::Session>::default());
        sources.push(Source::new("mqtt", name, move |context| {
            mqtt::run(settings.clone(), agent, Arc::clone(&session), context)
        }));
    }
    if let Some(settings) = config.line_protocol.clone() {
        let (name, machine) = (settings.listen.get_ref().to_string(), config.system.device);
        sources.push(Source::new("line_protocol", name, move |context| {
            line_protocol::run(settings.clone(), machine, context)
        }));
    }
    for settings in config.i2c.clone() {
        let (name, thread) = (settings.device.to_string(), Thread::default());
        sources.push(Source::new("i2c", name, move |context| i2c::run(settings.clone(), Arc::clone(&thread), context)));
    }
    for settings in config.exec.clone() {
        let name = settings.device.to_string();
        sources.push(Source::new("exec", name, move |context| exec::run(settings.clone(), context)));
    }
    sources
}
