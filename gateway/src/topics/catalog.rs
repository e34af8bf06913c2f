//! What was fixed when a topic was made: its schema id, its format, whether it is compacted.
//!
//! Guarantees: a schema id belongs to one topic for ever, also when the topic is removed by hand; an entry is durable
//! before the first record of its topic is.
//!
//! Files, each a [`weir_storage::StateFile`]; integers are big endian:
//! ```text
//! <data>/topics/weir.catalog      version u8 = 1 | next schema id u32 | count u16 | entries
//! <data>/topics/<topic>/topic     version u8 = 1 | one entry
//! entry                           length u8, name | schema id u32 | format u8: 0 Avro, 1 JSON, 2 raw | flags u8: 1 compacted
//! ```
//! Either of the two can be damaged: an entry is taken from the other. Topics that every gateway has are in neither
//! file as long as they are as every gateway has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::definition::{FIRST_ROUTED_SCHEMA, Format};
use super::layout::TOPICS;

const VERSION: u8 = 1;
const COMPACTED: u8 = 1;
const FILE: &str = "weir.catalog";
const COPY: &str = "topic";

/// What is fixed about one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) schema_id: u32,
    pub(crate) format: Format,
    pub(crate) compact: bool,
}

/// What is fixed about all topics, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Catalog {
    next_schema_id: u32,
    topics: BTreeMap<String, Fixed>,
}

impl Catalog {
    /// Reads the file, and the copies of the topics that are there.
    ///
    /// # Errors
    /// [`IoError`] when the filesystem refuses; damage is read around.
    pub(crate) fn load(fs: &Arc<dyn Fs>, data: &Path, there: &[String]) -> Result<Self, IoError> {
        let root = data.join(TOPICS);
        let mut catalog = Self { next_schema_id: FIRST_ROUTED_SCHEMA, topics: BTreeMap::new() };
        if let Loaded::Good(payload) = StateFile::new(Arc::clone(fs), &root.join(FILE)).load()?
            && let Some(read) = Self::decode(&payload)
        {
            catalog = read;
        }
        for name in there {
            if let Loaded::Good(payload) = StateFile::new(Arc::clone(fs), &root.join(name).join(COPY)).load()?
                && let Some((&VERSION, entry)) = payload.split_first()
                && let Some((found, fixed, [])) = decode_entry(entry)
                && found == name
            {
                catalog.next_schema_id = catalog.next_schema_id.max(fixed.schema_id.saturating_add(1));
                catalog.topics.entry(found.to_owned()).or_insert(fixed);
            }
        }
        Ok(catalog)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`IoError`]; the file is as it was.
    pub(crate) fn store(&self, fs: &Arc<dyn Fs>, data: &Path) -> Result<(), IoError> {
        StateFile::new(Arc::clone(fs), &data.join(TOPICS).join(FILE)).replace(&self.encode())
    }

    /// Writes the copy of one topic, whose directory is there, unless it is there and good.
    ///
    /// # Errors
    /// [`IoError`] when the filesystem refuses.
    pub(crate) fn store_copy(&self, fs: &Arc<dyn Fs>, data: &Path, name: &str) -> Result<(), IoError> {
        let Some(fixed) = self.topics.get(name) else { return Ok(()) };
        let mut payload = vec![VERSION];
        put_entry(&mut payload, name, fixed);
        let file = StateFile::new(Arc::clone(fs), &data.join(TOPICS).join(name).join(COPY));
        match file.load()? {
            Loaded::Good(found) if found == payload => Ok(()),
            _ => file.replace(&payload),
        }
    }

    /// What is fixed about a topic.
    pub(crate) fn get(&self, name: &str) -> Option<Fixed> {
        self.topics.get(name).copied()
    }

    /// Fixes a topic that is made now. `schema_id` if it has one of its own already.
    pub(crate) fn fix(&mut self, name: &str, schema_id: Option<u32>, format: Format, compact: bool) -> Fixed {
        let schema_id = schema_id.unwrap_or_else(|| {
            let next = self.next_schema_id;
            self.next_schema_id = next.saturating_add(1);
            next
        });
        let fixed = Fixed { schema_id, format, compact };
        self.topics.insert(name.to_owned(), fixed);
        fixed
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.next_schema_id.to_be_bytes());
        out.extend_from_slice(&(self.topics.len() as u16).to_be_bytes());
        self.topics.iter().for_each(|(name, fixed)| put_entry(&mut out, name, fixed));
        out
    }

    /// `None` for what this build does not know, although its checksum is right.
    fn decode(payload: &[u8]) -> Option<Self> {
        let (&[VERSION, a, b, c, d, high, low], mut rest) = payload.split_first_chunk::<7>()? else { return None };
        let mut topics = BTreeMap::new();
        for _ in 0..u16::from_be_bytes([high, low]) {
            let (name, fixed, behind) = decode_entry(rest)?;
            topics.insert(name.to_owned(), fixed);
            rest = behind;
        }
        rest.is_empty().then_some(Self { next_schema_id: u32::from_be_bytes([a, b, c, d]), topics })
    }
}

fn put_entry(out: &mut Vec<u8>, name: &str, fixed: &Fixed) {
    // Names have at most 249 bytes.
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&fixed.schema_id.to_be_bytes());
    out.push(fixed.format as u8);
    out.push(if fixed.compact { COMPACTED } else { 0 });
}

fn decode_entry(bytes: &[u8]) -> Option<(&str, Fixed, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (&[a, b, c, d, format, flags], rest) = rest.split_first_chunk::<6>()?;
    let format = match format {
        0 => Format::Avro,
        1 => Format::Json,
        2 => Format::Raw,
        _ => return None,
    };
    let fixed = Fixed { schema_id: u32::from_be_bytes([a, b, c, d]), format, compact: flags == COMPACTED };
    (flags <= COMPACTED).then_some((std::str::from_utf8(name).ok()?, fixed, rest))
}

#[cfg(test)]
mod tests {
    use weir_storage::FaultyFs;
    use weir_storage::durable;

    use super::*;

    const DATA: &str = "/data";

    fn filled() -> Catalog {
        let mut catalog = Catalog { next_schema_id: FIRST_ROUTED_SCHEMA, topics: BTreeMap::new() };
        catalog.fix("readings", Some(1), Format::Json, false);
        assert_eq!(catalog.fix("vibration", None, Format::Avro, false).schema_id, 100);
        assert_eq!(catalog.fix("state", None, Format::Json, true).schema_id, 101);
        catalog
    }

    /// A file of version 1, which every later build reads: change nothing here.
    #[test]
    fn the_bytes_of_version_1_never_change() {
        let hex: String = filled().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let version_1 = "010000006600030872656164696e67730000000101000573746174650000006501010976696272\
                         6174696f6e000000640000";
        assert_eq!(hex, version_1);
        assert_eq!(Catalog::decode(&filled().encode()), Some(filled()));
    }

    #[test]
    fn a_topic_of_messages_is_known_by_its_format() {
        let mut catalog = Catalog { next_schema_id: FIRST_ROUTED_SCHEMA, topics: BTreeMap::new() };
        catalog.fix("messages", None, Format::Raw, false);
        let hex: String = catalog.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01000000650001086d65737361676573000000640200");
        assert_eq!(Catalog::decode(&catalog.encode()), Some(catalog));
    }

    #[test]
    fn what_is_cut_or_of_a_later_version_is_not_believed() {
        let good = filled().encode();
        for length in 0..good.len() {
            assert_eq!(Catalog::decode(&good[..length]), None, "cut at {length}");
        }
        let mut later = good;
        later[0] = 2;
        assert_eq!(Catalog::decode(&later), None);
    }

    #[test]
    fn either_file_says_it_and_no_id_is_given_twice() {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let (data, name) = (Path::new(DATA), "vibration".to_owned());
        durable::create_dir_all(&*fs, &data.join(TOPICS).join(&name)).unwrap();
        filled().store(&fs, data).unwrap();
        filled().store_copy(&fs, data, &name).unwrap();
        assert_eq!(Catalog::load(&fs, data, &[]).unwrap(), filled());

        // The catalog is damaged: the copy is left.
        StateFile::new(Arc::clone(&fs), &data.join(TOPICS).join(FILE)).replace(b"?").unwrap();
        let mut left = Catalog::load(&fs, data, std::slice::from_ref(&name)).unwrap();
        assert_eq!(left.get(&name), filled().get(&name));
        assert_eq!(left.fix("new", None, Format::Avro, false).schema_id, 101);
    }
}
