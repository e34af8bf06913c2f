//! SCRAM-SHA-256, RFC 5802 and RFC 7677, the server's side: what the client says, and what it is told.
//!
//! ```text
//! client first   n,,n=<user>,r=<client nonce>
//! server first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
//! client final   c=<n,, in Base64>,r=<both nonces>,p=<proof>
//! server final   v=<signature>
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::secret::{Key, Secret, equal, hash, sign};
use super::{Denied, MOST_MESSAGE, MOST_USER_NAME, Mechanism};

/// The most bytes of a client's nonce: Java sends 25, OpenSSL-based ones up to 64.
const MOST_NONCE: usize = 256;
/// Random bytes of a server's nonce.
pub(super) const NONCE_BYTES: usize = 18;

const MALFORMED: Denied = Denied::Message(Mechanism::ScramSha256);

/// The first message of the client.
pub(super) struct ClientFirst<'a> {
    /// Who it says it is.
    pub(super) user: String,
    nonce: &'a str,
    /// The part before the name, which the client repeats.
    gs2_header: &'a str,
    /// The rest, which is signed.
    bare: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Denied> {
        Self::parts(text(bytes)?).ok_or(MALFORMED)
    }

    fn parts(text: &'a str) -> Option<Self> {
        // `n`: no channel binding. `y`: the client could, and knows that this server did not offer it.
        let rest = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,"))?;
        let (act_as, bare) = rest.split_once(',')?;
        let gs2_header = text.strip_suffix(bare)?;
        let mut fields = bare.split(',');
        // An extension that must be understood would stand first; there is none.
        let user = name(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        // Kafka's own extension: the name is that of a delegation token, of which there are none.
        if fields.any(|extension| extension.starts_with("tokenauth=")) {
            return None;
        }
        let acts_as_itself = act_as.is_empty() || name(act_as.strip_prefix("a=")?)? == user;
        acts_as_itself.then_some(Self { user, nonce, gs2_header, bare })
    }
}

/// A printable text without comma, as the grammar has it.
fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.len() <= MOST_NONCE && nonce.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A name in which `=2C` is a comma and `=3D` is an equals sign.
fn name(escaped: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = escaped;
    while let Some((head, tail)) = rest.split_once('=') {
        name.push_str(head);
        let (meant, after) = match tail.split_at_checked(2)? {
            ("2C", after) => (',', after),
            ("3D", after) => ('=', after),
            _ => return None,
        };
        name.push(meant);
        rest = after;
    }
    name.push_str(rest);
    (!name.is_empty() && name.len() <= MOST_USER_NAME).then_some(name)
}

/// An exchange after the server's first message.
pub(super) struct Exchange {
    secret: Secret,
    client_nonce: String,
    /// Both nonces.
    nonce: String,
    channel: String,
    /// The first two messages as they are signed.
    signed: String,
}

impl Exchange {
    /// Answers the client's first message.
    pub(super) fn begin(first: &ClientFirst<'_>, secret: Secret, random: [u8; NONCE_BYTES]) -> (Self, String) {
        let nonce = format!("{}{}", first.nonce, STANDARD.encode(random));
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&secret.salt), secret.iterations);
        let signed = format!("{},{answer}", first.bare);
        let channel = STANDARD.encode(first.gs2_header);
        (Self { secret, client_nonce: first.nonce.to_owned(), nonce, channel, signed }, answer)
    }

    /// Answers the client's last message, if its proof is right.
    pub(super) fn end(&self, bytes: &[u8]) -> Result<String, Denied> {
        let last = ClientFinal::read(bytes)?;
        // librdkafka before 2.6.1, as in Debian 12, puts its own nonce in front once more. All of ours is behind it, so an
        // old message is still no proof.
        let nonce = last.nonce.strip_prefix(&self.client_nonce).filter(|rest| *rest == self.nonce);
        if nonce.unwrap_or(last.nonce) != self.nonce || last.channel != self.channel {
            return Err(MALFORMED);
        }
        let signed = format!("{},{}", self.signed, last.without_proof);
        let mut client_key = sign(&self.secret.stored_key, signed.as_bytes());
        for (byte, proof) in client_key.iter_mut().zip(last.proof) {
            *byte ^= proof;
        }
        if !equal(&hash(&client_key), &self.secret.stored_key) {
            return Err(Denied::Credentials);
        }
        Ok(format!("v={}", STANDARD.encode(sign(&self.secret.server_key, signed.as_bytes()))))
    }
}

/// The last message of the client.
pub(super) struct ClientFinal<'a> {
    channel: &'a str,
    nonce: &'a str,
    proof: Key,
    without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Denied> {
        Self::parts(text(bytes)?).ok_or(MALFORMED)
    }

    fn parts(text: &'a str) -> Option<Self> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let channel = fields.next()?.strip_prefix("c=")?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let proof = STANDARD.decode(proof).ok()?.try_into().ok()?;
        Some(Self { channel, nonce, proof, without_proof })
    }
}

fn text(bytes: &[u8]) -> Result<&str, Denied> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_MESSAGE).ok_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3: user `user`, password `pencil`.
    #[test]
    fn the_exchange_of_the_standard() {
        let random = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let secret = Secret::of(b"pencil", 4096.try_into().unwrap(), salt);
        let first = ClientFirst::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.user, "user");
        // Ours is Base64, the standard's example is not: put it in place of ours.
        let (mut exchange, _) = Exchange::begin(&first, secret, [0; NONCE_BYTES]);
        exchange.nonce = format!("rOprNGfwEbeRWgbNEkqO{random}");
        exchange.signed =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO{random},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{random},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(exchange.end(last.as_bytes()).as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for at in 0..last.len() {
            let mut changed = last.clone().into_bytes();
            changed[at] ^= 1;
            assert!(exchange.end(&changed).is_err(), "byte {at} does not matter");
        }
    }

    /// librdkafka before 2.6.1 says its nonce twice in its last message; kcat of Debian 12 could not log in.
    #[test]
    fn a_client_nonce_that_is_said_twice_is_taken_and_any_other_is_not() {
        let secret = Secret::of(b"pencil", 4096.try_into().unwrap(), vec![1; 16]);
        let first = ClientFirst::read(b"n,,n=user,r=client").unwrap();
        let (exchange, _) = Exchange::begin(&first, secret.clone(), [0; NONCE_BYTES]);
        let both = &exchange.nonce;
        let end = |nonce: &str| {
            let without_proof = format!("c=biws,r={nonce}");
            let signature = sign(&secret.stored_key, format!("{},{without_proof}", exchange.signed).as_bytes());
            let mut salted: Key = [0; 32];
            let count = 4096.try_into().unwrap();
            ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, count, &[1; 16], b"pencil", &mut salted);
            let proof: Vec<_> =
                sign(&salted, b"Client Key").iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
            exchange.end(format!("{without_proof},p={}", STANDARD.encode(proof)).as_bytes())
        };
        for nonce in [both.clone(), format!("client{both}")] {
            assert!(end(&nonce).is_ok(), "{nonce}");
        }
        for nonce in ["client".to_owned(), format!("clientclient{both}"), format!("other{both}"), format!("{both}x")] {
            assert_eq!(end(&nonce), Err(MALFORMED), "{nonce}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for (message, why) in [
            ("p=tls-unique,,n=user,r=abc", "channel binding, which was not offered"),
            ("n,a=other,n=user,r=abc", "acting as somebody else"),
            ("n,,m=ext,n=user,r=abc", "an extension that must be understood"),
            ("n,,n=us=2Xer,r=abc", "an escape that does not exist"),
            ("n,,n=us=2,r=abc", "half an escape"),
            ("n,,n=,r=abc", "no name"),
            ("n,,n=user,r=", "no nonce"),
            ("n,,n=user", "no nonce"),
            ("n,,n=user,r=a b", "a nonce with a space"),
            ("n,,n=user,r=abc,tokenauth=true", "a delegation token"),
            ("n", "nothing"),
            ("", "nothing"),
        ] {
            assert!(ClientFirst::read(message.as_bytes()).is_err(), "{why}");
        }
        let long = format!("n,,n={},r=abc", "u".repeat(MOST_USER_NAME + 1));
        assert!(ClientFirst::read(long.as_bytes()).is_err());
    }

    #[test]
    fn a_name_may_hold_a_comma_and_an_equals_sign() {
        let first = ClientFirst::read(b"n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc,ext=1").unwrap();
        assert_eq!((first.user.as_str(), first.gs2_header), ("a,b=c", "n,a=a=2Cb=3Dc,"));
    }
}
