//! What settings say, key by key, and who says it: for a person who wonders where a value comes from.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{SettingsError, Source};

/// A key that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<V> {
    /// The path of the key, as `uplink.window`, or `serial[0].path` in a list of tables.
    pub key: String,
    /// What it is set to.
    pub value: V,
    /// Who says so: `agent.toml:3` (name and line), `environment variable WEIR_AGENT_DRAIN`.
    pub source: String,
}

impl Source {
    /// Every key that is written, in the order of their paths, as the settings come out after everything was laid over each
    /// other. What nobody wrote has its default and is not among them.
    ///
    /// # Errors
    /// [`SettingsError`] if it is no TOML, or a value is none that `V` can hold.
    pub fn written<V: DeserializeOwned>(&self) -> Result<Vec<Written<V>>, SettingsError> {
        self.merged(|root| {
            let mut found = Vec::new();
            self.table("", root.into_inner(), &mut found)?;
            found.sort_by(|a: &Written<V>, b| a.key.cmp(&b.key));
            Ok(found)
        })
    }

    fn table<V: DeserializeOwned>(
        &self,
        path: &str,
        table: DeTable<'_>,
        found: &mut Vec<Written<V>>,
    ) -> Result<(), SettingsError> {
        for (key, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            self.value(format!("{path}{dot}{}", key.get_ref()), value, found)?;
        }
        Ok(())
    }

    fn value<V: DeserializeOwned>(
        &self,
        key: String,
        value: Spanned<DeValue<'_>>,
        found: &mut Vec<Written<V>>,
    ) -> Result<(), SettingsError> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => self.table(&key, table, found),
            DeValue::Array(list) if list.iter().any(|item| item.get_ref().is_table()) => {
                for (at, item) in list.into_iter().enumerate() {
                    self.value(format!("{key}[{at}]"), item, found)?;
                }
                Ok(())
            }
            value => {
                let value = ValueDeserializer::from(Spanned::new(at..at, value));
                let value = V::deserialize(value).map_err(|error| self.blame(&error))?;
                found.push(Written { key, value, source: self.teller(at) });
                Ok(())
            }
        }
    }
}
