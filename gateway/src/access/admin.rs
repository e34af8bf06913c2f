//! What admins do with users and tokens.

use std::fmt;
use std::sync::Arc;

use ring::rand::SecureRandom;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use thiserror::Error;
use weir_protocol::Tenant;

use super::credentials::record::Change;
use super::credentials::{ChangeError, MAX_TOKENS, MAX_USERS, User};
use super::password::Phc;
use super::token::{self, Grant, Token};
use super::{Access, ClientId, Role};
use crate::moment;
use crate::topics::rules::Pattern;

/// How long a token is remembered after its end, in milliseconds, so that whoever comes with it hears why: 30 days.
const REMEMBERED_MS: i64 = 30 * 24 * 3_600_000;

/// A user to make, or whose password to replace.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The user name.
    pub name: String,
    /// What verifies the password: a PHC string.
    pub password: String,
    /// The tenant; `default` without.
    pub tenant: Option<String>,
    /// A pattern of the client ids that it may take; its own name without.
    pub clients: Option<String>,
}

/// A token to make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewToken {
    /// What people call it.
    pub name: Option<String>,
    /// The role; this or `enroll`.
    pub role: Option<Role>,
    /// A pattern of the names that it is good for, once.
    pub enroll: Option<String>,
    /// The only tenant that it is good for.
    pub tenant: Option<String>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// What it is good for, without what it is called: as the audit says it.
impl fmt::Display for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, &self.enroll) {
            (Some(role), _) => write!(f, "{role}")?,
            (None, names) => write!(f, "enroll {}", names.as_deref().unwrap_or_default())?,
        }
        self.tenant.iter().try_for_each(|tenant| write!(f, " of {tenant}"))
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdminError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Wrong(String),
    /// It is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// As many as there may be.
    #[error("there are {0} already, which is as many as there may be")]
    Full(usize),
    /// It could not be written.
    #[error("it could not be written, so nothing was changed: {0}")]
    NotWritten(String),
}

impl From<ChangeError> for AdminError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound(what) => Self::NotFound(what),
            ChangeError::Full(most) => Self::Full(most),
            ChangeError::NotWritten(why) => Self::NotWritten(why),
        }
    }
}

fn wrong(what: &str) -> impl Fn(String) -> AdminError {
    move |why| AdminError::Wrong(format!("{what}: {why}"))
}

fn tenant(text: Option<&str>) -> Result<Option<Tenant>, AdminError> {
    let read = |text: &str| Tenant::new(text).map_err(|error| wrong("tenant")(error.to_string()));
    text.map(read).transpose()
}

fn pattern(what: &str, text: &str) -> Result<Pattern, AdminError> {
    Pattern::new(text).map_err(|error| wrong(what)(error.to_string()))
}

impl Access {
    /// The users, without what verifies their passwords.
    pub fn users(&self) -> Vec<Json> {
        let table = self.credentials().table();
        let line = |(name, user): (&Arc<str>, &Arc<User>)| {
            json!({
                "user": &**name,
                "tenant": user.tenant.as_str(),
                "clients": user.clients.as_ref().map_or_else(|| name.to_string(), ToString::to_string),
                "set": moment::format(user.at_ms),
            })
        };
        table.users().iter().map(line).collect()
    }

    /// Makes a user, or replaces its password; connections of the old password end.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_user(&self, new: NewUser) -> Result<(), AdminError> {
        let name: Arc<str> =
            ClientId::new(&new.name).map_err(|error| wrong("name")(error.to_string()))?.as_str().into();
        let mut version = [0; 8];
        self.inner.random.fill(&mut version).map_err(|_| AdminError::NotWritten("no randomness".to_owned()))?;
        let user = User {
            tenant: tenant(new.tenant.as_deref())?.unwrap_or(Tenant::DEFAULT),
            clients: new.clients.as_deref().map(|text| pattern("clients", text)).transpose()?,
            password: Arc::new(Phc::new(&new.password).map_err(|error| wrong("password")(error.to_string()))?),
            version: u64::from_be_bytes(version),
            at_ms: self.now_ms(),
        };
        let decide = |table: &super::credentials::Table| match table.users().len() {
            MAX_USERS.. if !table.users().contains_key(&name) => Err(ChangeError::Full(MAX_USERS)),
            _ => Ok((Some(Change::User(Arc::clone(&name), Some(Arc::new(user)))), ())),
        };
        Ok(self.credentials().decide(self.now_ms(), decide).await?)
    }

    /// Removes a user; its connections end.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_user(&self, name: &str) -> Result<(), AdminError> {
        let decide = |table: &super::credentials::Table| match table.users().get_key_value(name) {
            Some((name, _)) => Ok((Some(Change::User(Arc::clone(name), None)), ())),
            None => {
                Err(ChangeError::NotFound(format!("user {name:?}; `weir-gateway user list` names those there are")))
            }
        };
        Ok(self.credentials().decide(self.now_ms(), decide).await?)
    }

    /// The tokens, without their hashes.
    pub fn tokens(&self) -> Vec<Json> {
        let now_ms = self.now_ms();
        let table = self.credentials().table();
        let line = |(id, token): (&Arc<str>, &Arc<Token>)| {
            let (role, enroll) = match &token.grant {
                Grant::Role(role) => (Some(role.as_str()), None),
                Grant::Enroll(names) => (None, Some(names.as_str())),
            };
            let state = match token.used_ms {
                Some(_) => "used",
                None if token.is_expired(now_ms) => "expired",
                None => "good",
            };
            json!({
                "id": &**id,
                "name": token.name,
                "role": role,
                "enroll": enroll,
                "tenant": token.tenant.map(|tenant| tenant.to_string()),
                "made": moment::format(token.made_ms),
                "expires": token.expires_ms.map(moment::format),
                "state": state,
            })
        };
        table.tokens().iter().map(line).collect()
    }

    /// Makes a token; its id, and the token itself, which is kept nowhere.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_token(&self, new: NewToken) -> Result<(String, String), AdminError> {
        let grant = match (new.role, new.enroll) {
            (Some(role), None) => Grant::Role(role),
            (None, Some(names)) => pattern("enroll", &names).map(|_| Grant::Enroll(names))?,
            _ => return Err(AdminError::Wrong("expected a role or names to enrol, one of the two".to_owned())),
        };
        let name = new.name.unwrap_or_default();
        if name.len() > token::MAX_NAME || name.contains(char::is_control) {
            let expected = format!("expected up to {} bytes without control characters", token::MAX_NAME);
            return Err(wrong("name")(expected));
        }
        let now_ms = self.now_ms();
        if new.expires_ms.is_some_and(|expires| expires <= now_ms) {
            return Err(AdminError::Wrong("it would have ended already".to_owned()));
        }
        let no_randomness = || AdminError::NotWritten("no randomness from the system".to_owned());
        let (shown, hash) = token::make(&self.inner.random).ok_or_else(no_randomness)?;
        let id = self.new_id().ok_or_else(no_randomness)?;
        let token = Token {
            hash: token::encode(&hash),
            name,
            grant,
            tenant: tenant(new.tenant.as_deref())?,
            made_ms: now_ms,
            expires_ms: new.expires_ms,
            used_ms: None,
        };
        let key: Arc<str> = id.as_str().into();
        let decide = |table: &super::credentials::Table| match table.tokens().len() {
            MAX_TOKENS.. => Err(ChangeError::Full(MAX_TOKENS)),
            _ => Ok((Some(Change::Token(key, Some(Arc::new(token)))), ())),
        };
        self.credentials().decide(now_ms, decide).await?;
        Ok((id, shown))
    }

    /// Revokes a token: whoever came with it is disconnected.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), AdminError> {
        let decide = |table: &super::credentials::Table| match table.tokens().get_key_value(id) {
            Some((id, _)) => Ok((Some(Change::Token(Arc::clone(id), None)), ())),
            None => {
                Err(ChangeError::NotFound(format!("token {id:?}; `weir-gateway token list` names those there are")))
            }
        };
        Ok(self.credentials().decide(self.now_ms(), decide).await?)
    }

    /// Forgets tokens that ended long ago.
    pub async fn forget_tokens(&self) {
        let now_ms = self.now_ms();
        let is_old = |token: &Token| {
            let ended = token.used_ms.or(token.expires_ms);
            ended.is_some_and(|ended| ended.saturating_add(REMEMBERED_MS) <= now_ms)
        };
        let old: Vec<Arc<str>> = {
            let table = self.credentials().table();
            table.tokens().iter().filter(|(_, token)| is_old(token)).map(|(id, _)| Arc::clone(id)).collect()
        };
        for id in old {
            if let Err(error) = self.credentials().change(now_ms, Change::Token(id, None)).await {
                tracing::warn!(%error, "a token that ended was not forgotten");
                return;
            }
        }
    }

    /// A random name for a token or an act.
    pub fn new_id(&self) -> Option<String> {
        token::id(&self.inner.random)
    }
}
