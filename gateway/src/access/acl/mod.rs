//! Which topics a client may use.
//!
//! What it guarantees: with rules that are enforced, a client may do what some rule says and nothing else; a subscription is
//! allowed only if one filter of a rule covers it, so that it can never match a topic outside of the rules; asking makes
//! no memory and takes no lock.
//!
//! A rule is a pattern of client ids, perhaps with a tenant in front (`acme/pump-*`), and filters for publishing and for
//! subscribing ([`template`]). All rules that match a client hold. An agent, which is a client whose id is an
//! [`AgentId`], may use its own topics without a rule: see [`BUILT_IN`].

pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;
use weir_protocol::{AgentId, Tenant};

use super::{Action, ClientId};
use crate::topics::rules::{Pattern, PatternError};
pub use template::{Template, TemplateError};

/// The most rules.
pub const MAX_RULES: usize = 1024;
/// The most filters of one rule, for publishing and for subscribing each.
pub const MAX_FILTERS: usize = 64;

/// What an agent may do without a rule: publish, and subscribe. A command it may take back and not give: see
/// [`crate::front`], where what it publishes there must be empty.
pub const BUILT_IN: (&[&str], &[&str]) = (
    &[
        "weir/1/{tenant}/{client}/batch",
        "weir/1/{tenant}/{client}/describe",
        "weir/1/{tenant}/{client}/status",
        "weir/1/{tenant}/{client}/do/+",
    ],
    &[
        "weir/1/{tenant}/{client}/command",
        "weir/1/{tenant}/{client}/config",
        "weir/1/{tenant}/{client}/do",
        "weir/1/{tenant}/{client}/do/+",
    ],
);

/// All rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `None`: everybody may do everything.
    enforced: Option<Vec<Rule>>,
    built_in: Filters,
}

/// What some clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    tenant: Option<Tenant>,
    clients: Pattern,
    filters: Filters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Filters {
    publish: Vec<Template>,
    subscribe: Vec<Template>,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The pattern of client ids.
    #[error("clients: {0}")]
    Clients(#[from] PatternError),
    /// The tenant in front of it.
    #[error("clients: {0:?} is no tenant")]
    Tenant(String),
    /// A filter.
    #[error("{filter:?}: {why}")]
    Filter {
        /// As it was written.
        filter: String,
        /// What is wrong with it.
        why: TemplateError,
    },
    /// Too many filters.
    #[error("got {0} filters, expected at most {MAX_FILTERS}")]
    TooMany(usize),
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// No rules are enforced.
    Open,
    /// By this filter of the rule with this number, from 0.
    Rule(usize, &'r Template),
    /// By what agents may do anyway.
    BuiltIn(&'r Template),
    /// By no rule.
    Denied,
}

impl Verdict<'_> {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Self::Denied)
    }
}

impl Rule {
    /// Reads a rule as the settings have it.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn new<T: AsRef<str>>(clients: &str, publish: &[T], subscribe: &[T]) -> Result<Self, RuleError> {
        let (tenant, clients) = match clients.split_once('/') {
            Some((tenant, clients)) => {
                (Some(Tenant::new(tenant).map_err(|_| RuleError::Tenant(tenant.to_owned()))?), clients)
            }
            None => (None, clients),
        };
        let read = |filters: &[T]| -> Result<Vec<Template>, RuleError> {
            if filters.len() > MAX_FILTERS {
                return Err(RuleError::TooMany(filters.len()));
            }
            let one = |filter: &T| {
                let filter = filter.as_ref();
                Template::new(filter).map_err(|why| RuleError::Filter { filter: filter.to_owned(), why })
            };
            filters.iter().map(one).collect()
        };
        let filters = Filters { publish: read(publish)?, subscribe: read(subscribe)? };
        Ok(Self { tenant, clients: Pattern::new(clients)?, filters })
    }

    fn is_of(&self, tenant: Tenant, client: &ClientId) -> bool {
        self.tenant.is_none_or(|own| own == tenant) && self.clients.matches(client.as_str())
    }
}

impl Filters {
    fn allows(&self, tenant: Tenant, client: &ClientId, action: Action, topic: &str) -> Option<&Template> {
        let filters = match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        };
        filters.iter().find(|filter| filter.covers(tenant, client, topic))
    }
}

impl Rules {
    /// These, and no other topics for anybody.
    pub fn enforced(rules: Vec<Rule>) -> Self {
        Self { enforced: Some(rules), ..Self::open() }
    }

    /// None: everybody may do everything.
    pub fn open() -> Self {
        let all = |filters: &[&str]| filters.iter().filter_map(|filter| Template::new(filter).ok()).collect();
        Self { enforced: None, built_in: Filters { publish: all(BUILT_IN.0), subscribe: all(BUILT_IN.1) } }
    }

    /// Whether a client may do that with a topic name or filter, and why.
    pub fn verdict(&self, tenant: Tenant, client: &ClientId, action: Action, topic: &str) -> Verdict<'_> {
        let Some(rules) = &self.enforced else { return Verdict::Open };
        let of_rules = rules.iter().enumerate().filter(|(_, rule)| rule.is_of(tenant, client));
        for (number, rule) in of_rules {
            if let Some(filter) = rule.filters.allows(tenant, client, action, topic) {
                return Verdict::Rule(number, filter);
            }
        }
        let own = || self.built_in.allows(tenant, client, action, topic);
        match AgentId::new(client.as_str()).ok().and_then(|_| own()) {
            Some(filter) => Verdict::BuiltIn(filter),
            None => Verdict::Denied,
        }
    }

    /// Whether a client may do under `newer` whatever it may do under these rules. It may say no although it could say yes.
    pub fn is_kept_by(&self, newer: &Self, tenant: Tenant, client: &ClientId) -> bool {
        let of = |rules: &Self| -> Option<Vec<Filters>> {
            let all = rules.enforced.as_ref()?.iter().filter(|rule| rule.is_of(tenant, client));
            Some(all.map(|rule| rule.filters.clone()).collect())
        };
        match (of(self), of(newer)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(old), Some(new)) => {
                let (new_publish, new_subscribe) = (all(&new, |all| &all.publish), all(&new, |all| &all.subscribe));
                all(&old, |all| &all.publish).is_subset(&new_publish)
                    && all(&old, |all| &all.subscribe).is_subset(&new_subscribe)
            }
        }
    }
}

fn all(filters: &[Filters], of: fn(&Filters) -> &Vec<Template>) -> BTreeSet<String> {
    filters.iter().flat_map(of).map(ToString::to_string).collect()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tenant) = self.tenant {
            write!(f, "{tenant}/")?;
        }
        write!(f, "{}", self.clients)
    }
}
