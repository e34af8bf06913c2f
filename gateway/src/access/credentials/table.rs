//! What the records say, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::record::{Change, User};
use crate::access::token::{self, Hash, Token};

/// Users and tokens.
#[derive(Debug, Default)]
pub struct Table {
    users: BTreeMap<Arc<str>, Arc<User>>,
    tokens: BTreeMap<Arc<str>, Arc<Token>>,
    ids: HashMap<Hash, Arc<str>>,
}

impl Table {
    /// Takes a change in.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::User(name, Some(user)) => drop(self.users.insert(Arc::clone(name), Arc::clone(user))),
            Change::User(name, None) => drop(self.users.remove(name)),
            Change::Token(id, token) => {
                let gone = self.tokens.remove(id);
                if let Some(hash) = gone.and_then(|token| token::decode(&token.hash)) {
                    self.ids.remove(&hash);
                }
                if let Some(token) = token {
                    if let Some(hash) = token::decode(&token.hash) {
                        self.ids.insert(hash, Arc::clone(id));
                    }
                    self.tokens.insert(Arc::clone(id), Arc::clone(token));
                }
            }
        }
    }

    /// The users, by name.
    pub fn users(&self) -> &BTreeMap<Arc<str>, Arc<User>> {
        &self.users
    }

    /// The tokens, by id.
    pub fn tokens(&self) -> &BTreeMap<Arc<str>, Arc<Token>> {
        &self.tokens
    }

    /// The token with this hash, and its id. How long the look-up takes tells of hashes at the most, and whoever learns a
    /// hash has no token.
    pub fn token(&self, hash: &Hash) -> Option<(Arc<str>, Arc<Token>)> {
        let id = self.ids.get(hash)?;
        Some((Arc::clone(id), Arc::clone(self.tokens.get(id)?)))
    }
}
