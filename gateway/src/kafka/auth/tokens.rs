//! Tokens over SASL/PLAIN: the user is [`USER`], the password the token.

use std::net::IpAddr;

use super::Denied;
use crate::access::audit::Wanted;
use crate::access::{Access, Caller};

/// The user name that says that the password is a token.
pub(super) const USER: &str = "token";

/// What tells tokens, for one connection.
#[derive(Clone)]
pub struct Tokens {
    access: Access,
    address: IpAddr,
    /// Whether nobody reads along: TLS, or this machine.
    is_private: bool,
}

impl Tokens {
    /// For a connection from `address`.
    pub fn new(access: Access, address: IpAddr, is_tls: bool) -> Self {
        Self { access, address, is_private: is_tls || address.to_canonical().is_loopback() }
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn holder(&self, token: &[u8]) -> Result<Caller, Denied> {
        let refused = |denied: Denied, why| {
            self.access.audit().refused(Wanted::Kafka, USER, Some(self.address), why);
            denied
        };
        if !self.is_private {
            return Err(refused(Denied::Exposed, "a token without TLS"));
        }
        let token = std::str::from_utf8(token).map_err(|_| refused(Denied::Credentials, "no token"))?;
        let caller = self.access.token_over_kafka(token, self.address)?;
        match caller.tenant {
            Some(_) => Err(refused(Denied::Tenant, "a token of one tenant")),
            None => Ok(caller),
        }
    }

    /// A user of the settings came, or did not.
    pub(super) fn tried(&self, name: &str, is_in: bool) {
        if !is_in {
            self.access.failed_login(self.address);
            self.access.audit().refused(Wanted::Kafka, name, Some(self.address), "an unknown user or a wrong password");
        }
    }

    /// Whether too many logins of the address failed.
    pub(super) fn is_shut_out(&self) -> bool {
        self.access.is_shut_out(self.address)
    }
}
