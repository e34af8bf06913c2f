//! Something for each of many topic filters, found by topic name.
//!
//! What it guarantees: a lookup looks at the levels of the name and at the filters that can still match, never at all; no
//! more filters than the limit, none deeper than [`MAX_LEVELS`], and nothing stays of a filter that was removed.

use std::fmt;

use hashbrown::HashMap;

use super::topic;

/// The most levels of a filter. Names may have more.
pub const MAX_LEVELS: usize = 128;

/// A map from filters to `T`.
#[derive(Debug)]
pub struct FilterTree<T> {
    root: Node<T>,
    filters: usize,
    limit: usize,
}

/// Why a filter is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// There are as many as there may be.
    Full {
        /// How many that is.
        limit: usize,
    },
    /// It has more than [`MAX_LEVELS`] levels.
    TooDeep,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "there are {limit} topic filters already"),
            Self::TooDeep => write!(f, "a topic filter of more than {MAX_LEVELS} levels"),
        }
    }
}

impl std::error::Error for TreeError {}

/// What filters that agree so far go on with.
#[derive(Debug)]
struct Node<T> {
    /// Of the filter that ends here.
    here: Option<T>,
    /// Of the filter that goes on with `#`.
    rest: Option<T>,
    /// Filters that go on with `+`.
    any: Option<Box<Node<T>>>,
    /// Filters that go on with a level of their own.
    named: HashMap<String, Node<T>>,
}

impl<T> FilterTree<T> {
    /// One that takes `limit` filters.
    pub fn new(limit: usize) -> Self {
        Self { root: Node::new(), filters: 0, limit }
    }

    /// How many filters it has.
    pub fn len(&self) -> usize {
        self.filters
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.filters == 0
    }

    /// What belongs to `filter`, made if there is none yet.
    ///
    /// # Errors
    /// [`TreeError`]; nothing is changed.
    pub fn get_or_insert_with(&mut self, filter: &str, make: impl FnOnce() -> T) -> Result<&mut T, TreeError> {
        if topic::levels(filter) > MAX_LEVELS {
            return Err(TreeError::TooDeep);
        }
        if self.filters >= self.limit && self.get(filter).is_none() {
            return Err(TreeError::Full { limit: self.limit });
        }
        let mut node = &mut self.root;
        let slot = 'end: {
            for level in filter.split('/') {
                node = match level {
                    "#" => break 'end &mut node.rest,
                    "+" => node.any.get_or_insert_with(|| Box::new(Node::new())),
                    name => node.named.entry_ref(name).or_insert_with(Node::new),
                };
            }
            &mut node.here
        };
        if slot.is_none() {
            self.filters += 1;
        }
        Ok(slot.get_or_insert_with(make))
    }

    /// What belongs to `filter`.
    pub fn get(&self, filter: &str) -> Option<&T> {
        let mut node = &self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.rest.as_ref(),
                "+" => node.any.as_ref()?,
                name => node.named.get(name)?,
            };
        }
        node.here.as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut T> {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.rest.as_mut(),
                "+" => node.any.as_mut()?,
                name => node.named.get_mut(name)?,
            };
        }
        node.here.as_mut()
    }

    /// Removes `filter` and gives back what belonged to it.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        // Nothing that deep was taken in.
        if topic::levels(filter) > MAX_LEVELS {
            return None;
        }
        let removed = self.root.remove(Some(filter))?;
        self.filters -= 1;
        Some(removed)
    }

    /// Tells `found` what belongs to each filter that `name` is for; a valid name, of any number of levels.
    pub fn matching<'t>(&'t self, name: &str, mut found: impl FnMut(&'t T)) {
        // [MQTT-4.7.2-1]: no wildcard in front.
        if !name.starts_with('$') {
            return self.root.visit(Some(name), &mut found);
        }
        let (first, behind) = split(name);
        if let Some(node) = self.root.named.get(first) {
            node.visit(behind, &mut found);
        }
    }
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { here: None, rest: None, any: None, named: HashMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.any.is_none() && self.named.is_empty()
    }

    fn remove(&mut self, filter: Option<&str>) -> Option<T> {
        let Some(filter) = filter else { return self.here.take() };
        let (level, behind) = split(filter);
        match level {
            "#" => self.rest.take(),
            "+" => {
                let removed = self.any.as_mut()?.remove(behind);
                self.any.take_if(|node| node.is_empty());
                removed
            }
            name => {
                let node = self.named.get_mut(name)?;
                let removed = node.remove(behind);
                if node.is_empty() {
                    self.named.remove(name);
                }
                if self.named.is_empty() {
                    self.named = HashMap::new();
                }
                removed
            }
        }
    }

    /// As deep as the deepest filter, which is [`MAX_LEVELS`].
    fn visit<'t>(&'t self, name: Option<&str>, found: &mut impl FnMut(&'t T)) {
        // The parent level is for a `#` too.
        self.rest.iter().for_each(&mut *found);
        let Some(name) = name else { return self.here.iter().for_each(found) };
        let (level, behind) = split(name);
        if let Some(node) = self.named.get(level) {
            node.visit(behind, found);
        }
        if let Some(node) = &self.any {
            node.visit(behind, found);
        }
    }
}

/// The first level, and what is behind it.
fn split(topic: &str) -> (&str, Option<&str>) {
    topic.split_once('/').map_or((topic, None), |(first, behind)| (first, Some(behind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    fn found(tree: &FilterTree<String>, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        tree.matching(name, |filter| all.push(filter.clone()));
        all.sort();
        all
    }

    #[test]
    fn a_tree_finds_what_a_list_of_the_same_filters_finds() {
        let seed = std::env::var("WEIR_SEED").map_or(5, |seed| seed.parse().unwrap());
        let mut random = StdRng::seed_from_u64(seed);
        let mut topic = |alphabet: &[&str]| {
            let levels = random.random_range(1..5);
            (0..levels).map(|_| *alphabet.choose(&mut random).unwrap()).collect::<Vec<_>>().join("/")
        };
        let (mut tree, mut list) = (FilterTree::new(64), std::collections::BTreeSet::new());
        for round in 0..20_000 {
            let filter = topic(&["a", "b", "", "$c", "+", "#"]);
            if topic::is_filter(&filter) {
                if round % 3 == 0 {
                    assert_eq!(tree.remove(&filter).is_some(), list.remove(&filter), "WEIR_SEED={seed}");
                } else if tree.get_or_insert_with(&filter, || filter.clone()).is_ok() {
                    list.insert(filter.clone());
                } else {
                    assert!(list.len() == 64 && !list.contains(&filter), "WEIR_SEED={seed}");
                }
                assert_eq!(tree.get(&filter).is_some(), list.contains(&filter), "WEIR_SEED={seed} {filter}");
                assert_eq!(tree.get_mut(&filter).is_some(), list.contains(&filter), "WEIR_SEED={seed} {filter}");
            }
            let name = topic(&["a", "b", "", "$c"]);
            let expected: Vec<_> = list.iter().filter(|filter| topic::matches(&name, filter)).cloned().collect();
            assert_eq!(found(&tree, &name), expected, "WEIR_SEED={seed} {name}");
            assert_eq!(tree.len(), list.len());
        }
        for filter in list {
            tree.remove(&filter).unwrap();
        }
        assert!(tree.is_empty() && tree.root.is_empty(), "nothing stays behind");
    }

    #[test]
    fn a_tree_is_bounded_in_filters_and_in_depth() {
        let mut tree = FilterTree::new(2);
        for filter in ["a/+", "a/#", "a/+"] {
            tree.get_or_insert_with(filter, || filter.to_owned()).unwrap();
        }
        assert_eq!(tree.get_or_insert_with("b", String::new), Err(TreeError::Full { limit: 2 }));
        tree.remove("a/#").unwrap();
        let deep = |levels: usize| vec!["+"; levels].join("/");
        assert_eq!(tree.get_or_insert_with(&deep(MAX_LEVELS + 1), String::new), Err(TreeError::TooDeep));
        tree.get_or_insert_with(&deep(MAX_LEVELS), || "deep".to_owned()).unwrap();
        // The longest filter there can be does no harm, and neither does the longest name.
        assert_eq!(tree.remove(&"/".repeat(65_535)), None);
        assert_eq!(found(&tree, &"/".repeat(65_535)), [""; 0]);
        assert_eq!(found(&tree, &"/".repeat(MAX_LEVELS - 1)), ["deep"]);
    }
}
