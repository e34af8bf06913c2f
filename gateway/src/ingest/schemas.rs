//! The schemas of one device, in the order in which they were described: the order decides how they are judged
//! ([`crate::schemas::evolution`]).
//!
//! Few to a device, so a list: it is read front to back for each run of readings.

use weir_protocol::SchemaHash;

/// What is known about each schema of a device.
#[derive(Debug)]
pub(crate) struct Schemas<T>(Vec<(SchemaHash, T)>);

impl<T> Default for Schemas<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Schemas<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, schema: SchemaHash) -> Option<&T> {
        self.0.iter().find(|(known, _)| *known == schema).map(|(_, found)| found)
    }

    /// Says something of a schema, which keeps its place; a new one comes last.
    pub(crate) fn insert(&mut self, schema: SchemaHash, said: T) {
        match self.0.iter_mut().find(|(known, _)| *known == schema) {
            Some((_, found)) => *found = said,
            None => self.0.push((schema, said)),
        }
    }

    /// Puts schemas that are not known in front of all others, in the order given.
    pub(crate) fn insert_in_front(&mut self, older: Self) {
        let mut older = older.0;
        older.retain(|(schema, _)| self.get(*schema).is_none());
        older.append(&mut self.0);
        self.0 = older;
    }

    pub(crate) fn remove(&mut self, schema: SchemaHash) {
        self.0.retain(|(known, _)| *known != schema);
    }

    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SchemaHash, &T)> {
        self.0.iter().map(|(schema, said)| (*schema, said))
    }
}
