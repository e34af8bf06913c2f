//! Passwords of devices: Argon2id, as PHC strings.
//!
//! What it guarantees: a password is hashed off the threads that serve, a bounded number at a time, and a wrong one rests
//! as long as it took, so a flood of logins waits for itself and not ingest for it; those that wait are bounded, in
//! all and for each address; an unknown user costs what a wrong password costs. A password that was right is
//! recognised by a keyed hash in memory for as long as it is the user's: thousands of devices that come back after a
//! power cut cost microseconds each. A wrong one is never recognised so, because then a guess would cost nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::hmac;
use ring::rand::SecureRandom;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::Denied;
use crate::places::Places;

/// What one hash takes: 7 MiB, 5 passes, one lane, one of the choices of OWASP's password storage cheat sheet; some 20 ms.
/// More memory at a time would be for servers with few users, not for a crowd of devices after a power cut.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;
/// What a hash that was made elsewhere may take.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const MOST_PASSES: u32 = 16;
/// The longest PHC string, in bytes.
const MOST_PHC: usize = 512;
/// The most bytes of a password.
pub const MOST_PASSWORD: usize = 1024;
/// The most passwords that are remembered as right.
const MOST_KNOWN: usize = 100_000;
const SALT_BYTES: usize = 16;

/// What verifies a password: `$argon2id$v=19$m=7168,t=5,p=1$<salt>$<hash>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Phc(String);

/// A text that is no [`Phc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected $argon2id$v=19$m=..,t=..,p=..$<salt>$<hash> with m up to {MOST_MEMORY_KIB} and t up to {MOST_PASSES}; \
     `weir-gateway user add NAME --mqtt` makes it"
)]
pub struct NotAPhc;

impl Phc {
    /// Hashes a password; takes its time.
    ///
    /// # Errors
    /// [`NotAPhc`] without randomness or for a password that is too long.
    pub fn of(password: &[u8], random: &dyn SecureRandom) -> Result<Self, NotAPhc> {
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|_| NotAPhc)?;
        let salt = SaltString::encode_b64(&salt).map_err(|_| NotAPhc)?;
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| NotAPhc)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        if password.len() > MOST_PASSWORD {
            return Err(NotAPhc);
        }
        argon2.hash_password(password, &salt).map(|phc| Self(phc.to_string())).map_err(|_| NotAPhc)
    }

    /// Takes a PHC string that costs no more than it may.
    ///
    /// # Errors
    /// [`NotAPhc`].
    pub fn new(text: &str) -> Result<Self, NotAPhc> {
        let fits = || {
            let phc = PasswordHash::new(text).ok().filter(|_| text.len() <= MOST_PHC)?;
            let params = Params::try_from(&phc).ok()?;
            let is_ours = phc.algorithm == Algorithm::Argon2id.ident()
                && phc.version == Some(Version::V0x13.into())
                && phc.salt.is_some()
                && phc.hash.is_some();
            let is_cheap = params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() == 1;
            (is_ours && is_cheap).then_some(())
        };
        fits().map(|()| Self(text.to_owned())).ok_or(NotAPhc)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the password; takes its time.
    pub fn verifies(&self, password: &[u8]) -> bool {
        let parsed = PasswordHash::new(&self.0);
        parsed.is_ok_and(|phc| Argon2::default().verify_password(password, &phc).is_ok())
    }
}

impl std::fmt::Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phc(..)")
    }
}

/// Where passwords are verified.
pub struct Verifier {
    turns: Arc<Semaphore>,
    waiting: Places,
    /// Of right passwords, by user: the version, and a hash under `key`.
    known: Mutex<HashMap<Arc<str>, (u64, hmac::Tag)>>,
    /// None: the system gave no randomness, and nothing is remembered.
    key: Option<hmac::Key>,
    /// What the passwords of unknown users are verified against.
    decoy: Arc<Phc>,
}

/// A hash of random bytes that nobody kept: it costs what any other costs, and no password has it.
const DECOY: &str = "$argon2id$v=19$m=7168,t=5,p=1$bm9ib2R5IGtub3dzIDE2Yg$ZpT0mXH5r2vJcQ9s8LwEo1uYkNdB3gRxa7VfCiKqMhA";

/// How many passwords are hashed at a time.
fn turns() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1))
}

impl Verifier {
    /// One that lets so many logins wait, a quarter of them from one address.
    pub fn new(most_waiting: usize, random: &dyn SecureRandom) -> Self {
        let mut key = [0; 32];
        Self {
            turns: Arc::new(Semaphore::new(turns())),
            waiting: Places::new(most_waiting, (most_waiting / 4).max(1)),
            known: Mutex::default(),
            decoy: Arc::new(Phc(DECOY.to_owned())),
            key: random.fill(&mut key).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &key)),
        }
    }

    /// Whether that is the password of `user`, whose record has this version and hash; `None`: there is no such user.
    ///
    /// # Errors
    /// [`Denied::Credentials`] or [`Denied::Busy`].
    pub async fn verify(
        &self,
        user: &Arc<str>,
        record: Option<(u64, &Arc<Phc>)>,
        password: &[u8],
        address: IpAddr,
    ) -> Result<(), Denied> {
        if password.len() > MOST_PASSWORD {
            return Err(Denied::Credentials);
        }
        let (version, phc) = record.unwrap_or((0, &self.decoy));
        if record.is_some() && self.is_known(user, version, password) {
            return Ok(());
        }
        let _place = self.waiting.take(address).ok_or(Denied::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Denied::Busy)?;
        let (phc, given) = (Arc::clone(phc), password.to_vec());
        let verified = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when nobody waits for it any more.
            let _turn = turn;
            let start = Instant::now();
            let is_right = phc.verifies(&given);
            if !is_right {
                std::thread::sleep(start.elapsed());
            }
            is_right
        });
        match verified.await {
            Ok(true) if record.is_some() => {
                self.learn(user, version, password);
                Ok(())
            }
            Ok(_) => Err(Denied::Credentials),
            Err(_) => Err(Denied::Busy),
        }
    }

    /// Logins that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.taken()
    }

    fn is_known(&self, user: &Arc<str>, version: u64, password: &[u8]) -> bool {
        let Some(key) = &self.key else { return false };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied();
        // In constant time.
        known.is_some_and(|(of, tag)| {
            of == version && hmac::verify(key, &input(user, version, password), tag.as_ref()).is_ok()
        })
    }

    fn learn(&self, user: &Arc<str>, version: u64, password: &[u8]) {
        let Some(key) = &self.key else { return };
        let tag = hmac::sign(key, &input(user, version, password));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_KNOWN || known.contains_key(user) {
            known.insert(Arc::clone(user), (version, tag));
        }
    }
}

fn input(user: &str, version: u64, password: &[u8]) -> Vec<u8> {
    [&(user.len() as u64).to_be_bytes()[..], user.as_bytes(), &version.to_be_bytes(), password].concat()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use ring::rand::SystemRandom;

    use super::*;

    const NEAR: &str = "127.0.0.1";

    fn verifier(waiting: usize) -> Verifier {
        Verifier::new(waiting, &SystemRandom::new())
    }

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let phc = Phc::of(b"hunter2", &SystemRandom::new()).unwrap();
        assert!(phc.as_str().starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{phc:?}");
        assert!(phc.verifies(b"hunter2") && !phc.verifies(b"hunter3") && !phc.verifies(b""));
        assert_eq!(Phc::new(phc.as_str()), Ok(phc.clone()));
        assert_eq!(format!("{phc:?}"), "Phc(..)");
    }

    #[test]
    fn the_decoy_costs_what_any_other_hash_costs() {
        let (decoy, made) = (Phc::new(DECOY).unwrap(), Phc::of(b"x", &SystemRandom::new()).unwrap());
        let parts = |phc: &Phc| phc.as_str().split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(parts(&decoy), parts(&made));
        assert!(!decoy.verifies(b""));
    }

    #[test]
    fn a_hash_that_costs_too_much_or_is_of_another_kind_is_not_taken() {
        let phc = Phc::of(b"hunter2", &SystemRandom::new()).unwrap().as_str().to_owned();
        for wrong in [
            phc.replace("m=7168", "m=1048576"),
            phc.replace("t=5", "t=1000"),
            phc.replace("p=1", "p=4"),
            phc.replace("argon2id", "argon2i"),
            phc.replace("v=19", "v=16"),
            phc.rsplit_once('$').unwrap().0.to_owned(),
            "hunter2".to_owned(),
            String::new(),
        ] {
            assert_eq!(Phc::new(&wrong), Err(NotAPhc), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_once_and_a_wrong_one_every_time() {
        let verifier = verifier(8);
        let (user, phc) = (Arc::from("pump-1"), Arc::new(Phc::of(b"right", &SystemRandom::new()).unwrap()));
        let address = NEAR.parse().unwrap();
        assert_eq!(verifier.verify(&user, Some((1, &phc)), b"right", address).await, Ok(()));
        let again = verifier.verify(&user, Some((1, &phc)), b"right", address).now_or_never();
        assert_eq!(again, Some(Ok(())), "known: it waits for nothing");
        for _ in 0..2 {
            assert!(verifier.verify(&user, Some((1, &phc)), b"wrong", address).now_or_never().is_none(), "hashed");
        }
        let newer = verifier.verify(&user, Some((2, &phc)), b"right", address).now_or_never();
        assert_eq!(newer, None, "a new password of the user is a new version");
        assert_eq!(verifier.verify(&user, None, b"right", address).await, Err(Denied::Credentials));
    }

    #[tokio::test]
    async fn a_crowd_of_logins_is_bounded_in_all_and_for_each_address() {
        let verifier = verifier(8);
        let user: Arc<str> = Arc::from("nobody");
        let crowd: Vec<_> = (0..20).map(|_| verifier.verify(&user, None, b"x", NEAR.parse().unwrap())).collect();
        let mut crowd: Vec<_> = crowd.into_iter().map(Box::pin).collect();
        let busy = crowd.iter_mut().filter_map(|login| login.now_or_never()).filter(|told| *told == Err(Denied::Busy));
        assert_eq!(busy.count(), 18, "an address has a quarter of the places");
        assert_eq!(verifier.waiting(), 2);
        let mut other = Box::pin(verifier.verify(&user, None, b"x", "10.0.0.2".parse().unwrap()));
        assert!((&mut other).now_or_never().is_none(), "another address has room");
        drop((crowd, other));
        assert_eq!(verifier.waiting(), 0);
    }
}
