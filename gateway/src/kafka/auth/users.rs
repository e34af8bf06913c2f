//! Who is known, and what is said of those who are not.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::scram::NONCE_BYTES;
use super::secret::{Secret, hash, sign};
use super::{Denied, plain};

/// The most bytes of a user's name.
pub const MOST_USER_NAME: usize = 128;
/// How many passwords are hashed at a time, each on a thread of its own for milliseconds; more logins wait in turn.
pub const MOST_DERIVATIONS: usize = 1;

/// What an unknown name costs where there are no users at all.
const USUAL_ITERATIONS: NonZeroU32 = NonZeroU32::new(15_000).unwrap();

type Randomness = dyn Fn() -> Option<[u8; NONCE_BYTES]> + Send + Sync;

/// All users of the Kafka port; clones are the same.
#[derive(Clone)]
pub struct Users {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: BTreeMap<String, Secret>,
    /// What the answers to unknown names are made of; only who knows the users' secrets knows it, and a restart does
    /// not change it.
    decoy: [u8; 32],
    derivations: Arc<Semaphore>,
    random: Box<Randomness>,
}

impl Inner {
    fn new(secrets: BTreeMap<String, Secret>, random: Box<Randomness>) -> Self {
        let keys: Vec<u8> = secrets.values().flat_map(|secret| secret.server_key).collect();
        let derivations = Arc::new(Semaphore::new(MOST_DERIVATIONS));
        Self { decoy: hash(&keys), derivations, random, secrets }
    }
}

impl Users {
    /// These users, with the system's randomness. None if there is nobody, and so nobody has to prove anything.
    pub fn new(secrets: BTreeMap<String, Secret>) -> Option<Self> {
        let system = SystemRandom::new();
        Self::with_random(secrets, move || {
            let mut bytes = [0; NONCE_BYTES];
            system.fill(&mut bytes).ok().map(|()| bytes)
        })
    }

    /// The same with randomness of the caller's own.
    pub fn with_random(
        secrets: BTreeMap<String, Secret>,
        random: impl Fn() -> Option<[u8; NONCE_BYTES]> + Send + Sync + 'static,
    ) -> Option<Self> {
        let inner = Inner::new(secrets, Box::new(random));
        (!inner.secrets.is_empty()).then(|| Self { inner: Arc::new(inner) })
    }

    /// Nobody: only tokens let somebody in.
    pub fn nobody() -> Self {
        let system = SystemRandom::new();
        let random = move || {
            let mut bytes = [0; NONCE_BYTES];
            system.fill(&mut bytes).ok().map(|()| bytes)
        };
        Self { inner: Arc::new(Inner::new(BTreeMap::new(), Box::new(random))) }
    }

    /// Whether `name` is a user in both, with the same password.
    pub fn agree(&self, other: &Self, name: &str) -> bool {
        let of = |users: &Self| users.inner.secrets.get(name).cloned();
        of(self).is_some() && of(self) == of(other)
    }

    /// The secret of this user; of a name that is not known, one that no password has, the same each time.
    pub(super) fn secret(&self, name: &str) -> Secret {
        let Inner { secrets, decoy, .. } = &*self.inner;
        // Made in either case: it takes time.
        let drawn = sign(decoy, name.as_bytes());
        // Salt and iterations as some user has them, so that they tell nothing.
        let like = secrets.values().nth(usize::from(drawn[0]) % secrets.len().max(1));
        let mut salt = like.map_or_else(|| vec![0; 16], |secret| secret.salt.clone());
        let salts = sign(&drawn, b"salt").into_iter().chain(sign(&drawn, b"more salt"));
        salt.iter_mut().zip(salts).for_each(|(byte, drawn)| *byte = drawn);
        let unknown = Secret {
            iterations: like.map_or(USUAL_ITERATIONS, |secret| secret.iterations),
            salt,
            stored_key: sign(&drawn, b"stored"),
            server_key: sign(&drawn, b"server"),
        };
        secrets.get(name).cloned().unwrap_or(unknown)
    }

    /// Whether that is the password of that user. It takes its turn, off the threads that serve.
    pub(super) async fn verify(&self, message: plain::Message<'_>) -> Result<(), Denied> {
        let (secret, password) = (self.secret(message.user), message.password.to_vec());
        let turn = Arc::clone(&self.inner.derivations).acquire_owned().await.map_err(|_| Denied::Stopping)?;
        let derived = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when nobody waits for it any more.
            let _turn = turn;
            let start = Instant::now();
            let is_right = secret.verifies(&password);
            if !is_right {
                // So a flood of wrong passwords takes half a core at the most, and the rest is for ingest.
                std::thread::sleep(start.elapsed());
            }
            is_right
        });
        match derived.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::Credentials),
            Err(_) => Err(Denied::Stopping),
        }
    }

    pub(super) fn random(&self) -> Result<[u8; NONCE_BYTES], Denied> {
        (self.inner.random)().ok_or(Denied::Randomness)
    }
}
