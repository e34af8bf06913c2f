use ring::rand::SystemRandom;
use weir_protocol::Tenant;
use weir_storage::FaultyFs;

use super::*;
use crate::access::password::Phc;
use crate::access::role::Role;
use crate::access::token::{self, Grant, Token};

const DATA: &str = "/data";

fn open(fs: &FaultyFs) -> Credentials {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    Credentials::open(&fs, Path::new(DATA)).unwrap().0
}

fn a_token(name: &str) -> Arc<Token> {
    let (_, hash) = token::make(&SystemRandom::new()).unwrap();
    Arc::new(Token {
        hash: token::encode(&hash),
        name: name.to_owned(),
        grant: Grant::Role(Role::Viewer),
        tenant: None,
        made_ms: 0,
        expires_ms: None,
        used_ms: None,
    })
}

async fn set(credentials: &Credentials, id: &str, token: Option<Arc<Token>>) -> Result<(), ChangeError> {
    credentials.change(0, Change::Token(id.into(), token)).await
}

#[tokio::test]
async fn users_and_tokens_are_there_after_a_restart() {
    let fs = FaultyFs::new(1);
    let credentials = open(&fs);
    let user = Arc::new(User {
        tenant: Tenant::DEFAULT,
        clients: None,
        password: Arc::new(Phc::of(b"x", &SystemRandom::new()).unwrap()),
        version: 7,
        at_ms: 3,
    });
    let token = a_token("lake");
    credentials.change(3, Change::User("pump-1".into(), Some(user.clone()))).await.unwrap();
    set(&credentials, "7f", Some(token.clone())).await.unwrap();
    credentials.stop();
    assert!(matches!(set(&credentials, "8f", None).await, Err(ChangeError::NotWritten(_))), "it has stopped");

    let credentials = open(&fs.power_cut());
    assert_eq!(credentials.table().users().get("pump-1"), Some(&user));
    let hash = token::decode(&token.hash).unwrap();
    assert_eq!(credentials.table().token(&hash), Some(("7f".into(), token)));
}

/// A revocation that was acknowledged never comes back, whenever the power goes.
#[tokio::test]
async fn an_acknowledged_revocation_never_comes_back() {
    let first: u64 = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let count: u64 = std::env::var("WEIR_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    for seed in first..first + count {
        let fs = FaultyFs::new(seed);
        let mut credentials = open(&fs);
        let mut fs = fs;
        let mut known: std::collections::BTreeMap<String, Option<Arc<Token>>> = Default::default();
        for round in 0..12u64 {
            for step in 0..4 {
                let id = format!("{:02x}", (seed * 31 + round * 7 + step * 3) % 5);
                let token = (!(round + step + seed).is_multiple_of(3)).then(|| a_token(&id));
                set(&credentials, &id, token.clone()).await.unwrap();
                known.insert(id, token);
            }
            // A change whose answer nobody got may be there, or not.
            let id = "ff".to_owned();
            let unanswered = a_token(&id);
            drop(tokio::time::timeout(std::time::Duration::ZERO, set(&credentials, &id, Some(unanswered))).await);
            fs = fs.power_cut();
            credentials = open(&fs);
            let table = credentials.table();
            for (id, token) in &known {
                assert_eq!(table.tokens().get(id.as_str()), token.as_ref(), "seed {seed}, round {round}, token {id}");
                let hash = token.as_ref().and_then(|token| token::decode(&token.hash));
                assert!(hash.is_none_or(|hash| table.token(&hash).is_some()), "seed {seed}: found by its secret");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_write_changes_nothing_and_is_said() {
    let fs = FaultyFs::new(1);
    let credentials = open(&fs);
    let token = a_token("lake");
    set(&credentials, "7f", Some(token.clone())).await.unwrap();
    fs.fail_once(weir_storage::fs::Fault::Sync);
    assert!(matches!(set(&credentials, "7f", None).await, Err(ChangeError::NotWritten(_))));
    assert_eq!(credentials.table().tokens().get("7f"), Some(&token), "still there, and so was it said");
    set(&credentials, "7f", None).await.unwrap();
    assert!(open(&fs.power_cut()).table().tokens().is_empty());
}

#[tokio::test]
async fn a_change_decides_on_what_the_one_before_it_left() {
    let credentials = open(&FaultyFs::new(1));
    let once = |_| {
        credentials.decide(0, |table| match table.tokens().get("7f") {
            Some(_) => Err(ChangeError::Full(1)),
            None => Ok((Some(Change::Token("7f".into(), Some(a_token("lake")))), ())),
        })
    };
    let all = futures_util::future::join_all((0..20).map(once)).await;
    assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 1);
}
