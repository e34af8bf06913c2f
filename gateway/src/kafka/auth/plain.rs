//! SASL/PLAIN, RFC 4616: one message, `[act as] NUL user NUL password`.

use super::{Denied, MOST_MESSAGE, MOST_PASSWORD, Mechanism};

/// The message of the client.
pub(super) struct Message<'a> {
    /// Who it is.
    pub(super) user: &'a str,
    /// How it proves it.
    pub(super) password: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Denied> {
        Self::parts(bytes).ok_or(Denied::Message(Mechanism::Plain))
    }

    fn parts(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_MESSAGE)?;
        let mut parts = text.split('\0');
        let (act_as, user, password) = (parts.next()?, parts.next()?, parts.next()?);
        // Nobody acts as somebody else here.
        let is_well_formed = parts.next().is_none()
            && (act_as.is_empty() || act_as == user)
            && !user.is_empty()
            && !password.is_empty()
            && password.len() <= MOST_PASSWORD;
        is_well_formed.then_some(Self { user, password: password.as_bytes() })
    }
}
