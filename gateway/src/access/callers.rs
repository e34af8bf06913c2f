//! Who asks over HTTP and Kafka: tokens, and what ends with them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use weir_protocol::Tenant;

use super::audit::Wanted;
use super::credentials::ChangeError;
use super::credentials::record::Change;
use super::role::{Caller, Role, Who};
use super::token::{self, Grant, Token};
use super::{Access, Door};
use crate::limits::Limited;
use crate::topics::rules::Pattern;

/// Why somebody is not who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unproven {
    /// It shows no token, and has to.
    #[error(
        "a token is needed: send `Authorization: Bearer weir_...`; `weir-gateway token create --role viewer` makes one"
    )]
    Missing,
    /// What it shows is no token, or was revoked.
    #[error("no such token, or it was revoked; `weir-gateway token list` names those there are")]
    Unknown,
    /// It has ended.
    #[error("the token has ended; `weir-gateway token create --role ROLE` makes a new one")]
    Expired,
    /// It is good for a certificate and nothing else.
    #[error("this token is for enrolment alone; `weir-gateway token create --role ROLE` makes one for this")]
    EnrolmentOnly,
    /// Too many logins of its address failed.
    #[error("too many failed logins from this address; wait a minute")]
    TooOften,
}

/// Why a token does not get somebody a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnrolError {
    /// It is none, or was revoked.
    #[error("no such enrolment token, or it was revoked; `weir-gateway token create --enroll NAME` makes one")]
    Unknown,
    /// It has ended.
    #[error("the enrolment token has ended; `weir-gateway token create --enroll NAME` makes a new one")]
    Expired,
    /// It was good for once.
    #[error("the enrolment token was used already; `weir-gateway token create --enroll NAME` makes a new one")]
    Used,
    /// It is for acting in a role.
    #[error("this token is for a role, not for enrolment; `weir-gateway token create --enroll NAME` makes one")]
    NotForEnrolment,
    /// It is for other names.
    #[error(
        "the enrolment token is for {allowed:?}, not for {got:?}; `weir-gateway token create --enroll NAME` makes one"
    )]
    WrongName {
        /// The name asked for.
        got: String,
        /// The names it is good for.
        allowed: String,
    },
    /// Too many tries from this address failed.
    #[error("too many failed logins from this address; wait a minute")]
    TooOften,
    /// That it was used could not be written.
    #[error(transparent)]
    NotWritten(#[from] ChangeError),
}

/// What an enrolment token gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The tenant of the certificate.
    pub tenant: Tenant,
    /// The id of the token, for the audit.
    pub token: Arc<str>,
}

impl Access {
    /// Who asks over HTTP from `address` and shows this token, or none.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn bearer(&self, shown: Option<&str>, address: IpAddr) -> Result<Caller, Unproven> {
        match shown {
            Some(shown) => self.holder(shown, address),
            None if self.settings().http == Door::Open => Ok(anybody(address)),
            None => Err(Unproven::Missing),
        }
    }

    /// Who shows this token over Kafka from `address`.
    ///
    /// # Errors
    /// [`Unproven`], which is in the audit then.
    pub fn token_over_kafka(&self, shown: &str, address: IpAddr) -> Result<Caller, Unproven> {
        let found = self.holder(shown, address);
        found.inspect_err(|why| self.inner.audit.refused(Wanted::Kafka, "token", Some(address), why.audited()))
    }

    fn holder(&self, shown: &str, address: IpAddr) -> Result<Caller, Unproven> {
        let (id, token) = self.find(shown).ok_or_else(|| match self.guessed(address) {
            Ok(()) => Unproven::Unknown,
            Err(_) => Unproven::TooOften,
        })?;
        match token.grant {
            _ if token.is_expired(self.now_ms()) => Err(Unproven::Expired),
            Grant::Enroll(_) => Err(Unproven::EnrolmentOnly),
            Grant::Role(role) => Ok(Caller { who: Who::Token(id), role, tenant: token.tenant, address: Some(address) }),
        }
    }

    /// A token that there is not was shown from `address`. A token that there is is looked for first: nobody guesses one,
    /// and its holder is not to pay for somebody else behind the same router.
    fn guessed(&self, address: IpAddr) -> Result<(), Limited> {
        let now = Instant::now();
        self.inner.limits.logins(address, now)?;
        self.inner.limits.failed_login(address, now);
        Ok(())
    }

    fn find(&self, shown: &str) -> Option<(Arc<str>, Arc<Token>)> {
        self.inner.credentials.table().token(&token::hash(shown)?)
    }

    /// A login from `address` failed.
    pub fn failed_login(&self, address: IpAddr) {
        self.inner.limits.failed_login(address, Instant::now());
    }

    /// Whether too many logins of `address` failed.
    pub fn is_shut_out(&self, address: IpAddr) -> bool {
        self.inner.limits.logins(address, Instant::now()).is_err()
    }

    /// Takes an enrolment token: it is used up, durably, when this returns.
    ///
    /// # Errors
    /// [`EnrolError`]; the token is as it was.
    pub async fn enrol(&self, shown: &str, name: &str, address: IpAddr) -> Result<Enrolment, EnrolError> {
        let failed = |error: EnrolError| {
            let error = if self.guessed(address).is_ok() { error } else { EnrolError::TooOften };
            self.inner.audit.refused(Wanted::Enrol, name, Some(address), "the enrolment token is not good for that");
            error
        };
        let (id, _) = self.find(shown).ok_or(EnrolError::Unknown).map_err(failed)?;
        let now_ms = self.now_ms();
        let (of, name) = (Arc::clone(&id), name.to_owned());
        let decide = move |table: &super::credentials::Table| {
            let found = table.tokens().get(&of).cloned().ok_or(EnrolError::Unknown);
            let usable = found.and_then(|token| usable(&token, &name, now_ms).map(|()| token));
            Ok(match usable {
                Ok(token) => {
                    let used = Token { used_ms: Some(now_ms), ..(*token).clone() };
                    (Some(Change::Token(of, Some(Arc::new(used)))), Ok(token.tenant.unwrap_or(Tenant::DEFAULT)))
                }
                Err(error) => (None, Err(error)),
            })
        };
        let tenant = self.inner.credentials.decide(now_ms, decide).await?.map_err(failed)?;
        Ok(Enrolment { tenant, token: id })
    }

    /// Resolves when what this caller showed is good no more.
    pub fn ended(&self, caller: &Caller) -> impl Future<Output = ()> + Send + 'static {
        let (inner, who) = (Arc::clone(&self.inner), caller.who.clone());
        async move {
            let Who::Token(id) = who else { return std::future::pending().await };
            let mut changed = inner.credentials.changed();
            loop {
                let token = inner.credentials.table().tokens().get(&id).cloned();
                let Some(token) = token else { return };
                let left_ms = token.expires_ms.map(|expires| expires - inner.clock.now().as_millis());
                if left_ms.is_some_and(|left| left <= 0) {
                    return;
                }
                let expires = async {
                    match left_ms.map(u64::try_from) {
                        Some(Ok(left)) => tokio::time::sleep(Duration::from_millis(left.min(DAY_MS))).await,
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = expires => (),
                    changed = changed.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.inner.clock.now().as_millis()
    }
}

/// How long to sleep at the most before the wall clock is looked at again.
const DAY_MS: u64 = 24 * 3_600_000;

/// Whoever comes through an open door.
fn anybody(address: IpAddr) -> Caller {
    Caller { who: Who::Anybody, role: Role::Admin, tenant: None, address: Some(address) }
}

fn usable(token: &Token, name: &str, now_ms: i64) -> Result<(), EnrolError> {
    let Grant::Enroll(allowed) = &token.grant else { return Err(EnrolError::NotForEnrolment) };
    if token.used_ms.is_some() {
        return Err(EnrolError::Used);
    }
    if token.is_expired(now_ms) {
        return Err(EnrolError::Expired);
    }
    if !Pattern::new(allowed).is_ok_and(|pattern| pattern.matches(name)) {
        return Err(EnrolError::WrongName { got: name.to_owned(), allowed: allowed.clone() });
    }
    Ok(())
}

impl Unproven {
    /// Why, as the audit says it.
    pub const fn audited(self) -> &'static str {
        match self {
            Self::Missing => "no token",
            Self::Unknown => "an unknown or revoked token",
            Self::Expired => "a token that has ended",
            Self::EnrolmentOnly => "a token for enrolment alone",
            Self::TooOften => "too many failed logins",
        }
    }
}
