//! Clients that prove who they are, and others.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Barrier;

use super::secret::{Key, hash, sign};
use super::{Denied, Mechanism, Secret, Session, Step, Users};
use crate::kafka::messages::{ApiKey, ErrorCode, SUPPORTED};

const FEW: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(few) => few,
    None => NonZeroU32::MIN,
};

fn users() -> Users {
    let secret = |password: &str| Secret::of(password.as_bytes(), FEW, b"sixteen bytes...".to_vec());
    let secrets = BTreeMap::from([("alice".to_owned(), secret("pencil")), ("o,=".to_owned(), secret("\u{1F511}"))]);
    Users::with_random(secrets, || Some([7; 18])).unwrap()
}

fn answer(step: &Step) -> &str {
    std::str::from_utf8(&step.response.auth_bytes).unwrap()
}

/// The client's side of SCRAM, as RFC 5802 has it.
async fn prove(session: &mut Session, escaped_user: &str, password: &str) -> Step {
    assert_eq!(session.handshake("SCRAM-SHA-256").error, ErrorCode::None);
    let bare = format!("n={escaped_user},r=client");
    let first = session.authenticate(format!("n,,{bare}").as_bytes()).await;
    if first.denied.is_some() {
        return first;
    }
    let server_first = answer(&first).to_owned();
    let fields: Vec<&str> = server_first.split(',').collect();
    let (nonce, salt, iterations) = (&fields[0][2..], &fields[1][2..], &fields[2][2..]);
    assert!(nonce.starts_with("client") && nonce.len() > 20);
    let mut salted: Key = [0; 32];
    ring::pbkdf2::derive(
        ring::pbkdf2::PBKDF2_HMAC_SHA256,
        iterations.parse().unwrap(),
        &STANDARD.decode(salt).unwrap(),
        password.as_bytes(),
        &mut salted,
    );
    let client_key = sign(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("{bare},{server_first},{without_proof}");
    let signature = sign(&hash(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    let last = session.authenticate(format!("{without_proof},p={}", STANDARD.encode(proof)).as_bytes()).await;
    if last.denied.is_none() {
        let expected = STANDARD.encode(sign(&sign(&salted, b"Server Key"), signed.as_bytes()));
        assert_eq!(answer(&last), format!("v={expected}"), "the server proves that it knows the user, too");
    }
    last
}

async fn log_in(session: &mut Session, message: &str) -> Step {
    assert_eq!(session.handshake("PLAIN").error, ErrorCode::None);
    session.authenticate(message.as_bytes()).await
}

#[tokio::test]
async fn a_user_proves_who_it_is_by_scram() {
    for (escaped, name, password) in [("alice", "alice", "pencil"), ("o=2C=3D", "o,=", "\u{1F511}")] {
        let mut session = Session::new(Some(users()));
        let step = prove(&mut session, escaped, password).await;
        assert_eq!((step.response.error, step.denied), (ErrorCode::None, None));
        assert_eq!(session.user(), Some(name));
        assert!(session.admits(ApiKey::Fetch));
    }
}

#[tokio::test]
async fn a_user_says_its_password_in_plain() {
    for message in ["\0alice\0pencil", "alice\0alice\0pencil"] {
        let mut session = Session::new(Some(users()));
        let step = log_in(&mut session, message).await;
        assert_eq!((step.response.error, answer(&step)), (ErrorCode::None, ""));
        assert_eq!(session.user(), Some("alice"));
    }
}

#[tokio::test]
async fn whoever_is_denied_learns_nothing_and_is_done() {
    let mut answers = Vec::new();
    for (user, password) in [("alice", "wrong"), ("nobody", "pencil"), ("alice", "")] {
        let mut session = Session::new(Some(users()));
        let step = prove(&mut session, user, password).await;
        assert_eq!(step.denied, Some(Denied::Credentials));
        assert!(!session.admits(ApiKey::SaslHandshake), "the connection is closed");
        answers.push(step.response);
    }
    for message in ["\0alice\0wrong", "\0nobody\0pencil", "\0alice\0", "bob\0alice\0pencil", "alice", "\0alice\0a\0b"] {
        let mut session = Session::new(Some(users()));
        let step = log_in(&mut session, message).await;
        assert!(step.denied.is_some() && session.user().is_none() && !session.admits(ApiKey::Metadata), "{message:?}");
        answers.push(step.response);
    }
    assert_eq!(answers[0].error, ErrorCode::SaslAuthenticationFailed);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "one answer for all");
}

/// What the server says first does not tell a name that it knows from one that it does not, and says the same to the
/// same name.
#[tokio::test]
async fn an_unknown_user_is_challenged_like_a_known_one() {
    let mut challenges = BTreeMap::new();
    for user in ["alice", "nobody", "nobody", "somebody"] {
        let mut session = Session::new(Some(users()));
        session.handshake("SCRAM-SHA-256");
        let step = session.authenticate(format!("n,,n={user},r=client").as_bytes()).await;
        let challenge = answer(&step).to_owned();
        assert!(challenge.ends_with(",i=4096") && challenge.len() == 66, "{challenge}");
        let before = challenges.insert(user, challenge.clone());
        assert!(before.is_none_or(|before| before == challenge));
    }
    assert_ne!(challenges["nobody"], challenges["somebody"]);
    assert_ne!(challenges["nobody"], challenges["alice"]);
}

#[tokio::test]
async fn before_the_proof_only_what_leads_to_it_is_admitted() {
    let session = Session::new(Some(users()));
    let admitted: Vec<_> = SUPPORTED.iter().map(|api| api.key).filter(|key| session.admits(*key)).collect();
    assert_eq!(admitted, [ApiKey::SaslHandshake, ApiKey::ApiVersions, ApiKey::SaslAuthenticate]);
    let open = Session::new(None);
    assert!(SUPPORTED.iter().all(|api| open.admits(api.key)), "without users nobody has to prove anything");
}

#[tokio::test]
async fn steps_out_of_order_are_illegal() {
    let mut open = Session::new(None);
    assert_eq!(open.handshake("PLAIN").error, ErrorCode::IllegalSaslState);
    assert_eq!(open.authenticate(b"\0a\0b").await.response.error, ErrorCode::IllegalSaslState);
    assert!(open.admits(ApiKey::Fetch), "it goes on as before");

    let mut session = Session::new(Some(users()));
    assert_eq!(session.authenticate(b"\0alice\0pencil").await.response.error, ErrorCode::IllegalSaslState);
    let refused = session.handshake("GSSAPI");
    assert_eq!(refused.error, ErrorCode::UnsupportedSaslMechanism);
    assert_eq!(refused.mechanisms, ["PLAIN", "SCRAM-SHA-256"]);
    assert!(!session.admits(ApiKey::Metadata));
    let step = log_in(&mut session, "\0alice\0pencil").await;
    assert_eq!(step.denied, None, "another mechanism may be tried after one that is not known");
    assert_eq!(session.handshake("PLAIN").error, ErrorCode::IllegalSaslState, "proven already");
    assert!(session.admits(ApiKey::Fetch));
}

#[tokio::test]
async fn a_message_of_one_mechanism_is_none_of_the_other() {
    let mut session = Session::new(Some(users()));
    let step = log_in(&mut session, "n,,n=alice,r=client").await;
    assert_eq!(step.denied, Some(Denied::Message(Mechanism::Plain)));
    let mut session = Session::new(Some(users()));
    session.handshake("SCRAM-SHA-256");
    let step = session.authenticate(b"\0alice\0pencil").await;
    assert_eq!(step.denied, Some(Denied::Message(Mechanism::ScramSha256)));
    let mut session = Session::new(Some(users()));
    let step = log_in(&mut session, &format!("\0alice\0{}", "p".repeat(5000))).await;
    assert_eq!(step.denied, Some(Denied::Message(Mechanism::Plain)));
}

/// Twelve clients log in at once on the one thread of this test: it goes on serving between them, as their passwords are
/// hashed elsewhere and one at a time.
#[tokio::test]
async fn a_flood_of_logins_takes_turns_off_the_serving_threads() {
    let (users, all) = (users(), Arc::new(Barrier::new(13)));
    let logins: Vec<_> = (0..12)
        .map(|number| {
            let (users, all) = (users.clone(), Arc::clone(&all));
            tokio::spawn(async move {
                let mut session = Session::new(Some(users));
                all.wait().await;
                let password = if number % 2 == 0 { "pencil" } else { "wrong" };
                log_in(&mut session, &format!("\0alice\0{password}")).await.denied
            })
        })
        .collect();
    all.wait().await;
    let mut served = 0_u64;
    while !logins.iter().all(tokio::task::JoinHandle::is_finished) {
        served += 1;
        tokio::task::yield_now().await;
    }
    assert!(served > 12, "the thread served {served} times meanwhile");
    for (number, login) in logins.into_iter().enumerate() {
        let expected = (number % 2 == 1).then_some(Denied::Credentials);
        assert_eq!(login.await.unwrap(), expected);
    }
}

#[test]
fn a_secret_is_written_and_read_as_postgresql_writes_it() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let secret = Secret::of(b"pencil", FEW, salt);
    assert_eq!(secret.to_string(), text);
    assert_eq!(text.parse(), Ok(secret.clone()));
    assert!(secret.verifies(b"pencil") && !secret.verifies(b"pencil "));
    assert_eq!(format!("{secret:?}"), "Secret { iterations: 4096, .. }", "a secret is not printed by accident");
    for wrong in [
        "hunter2",
        "",
        &text.replace("4096", "1"),
        &text.replace("4096", "2000000"),
        &text.replace("SHA-256", "SHA-512"),
        &text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22Z"),
        &text[..text.len() - 4],
    ] {
        let error = wrong.parse::<Secret>().unwrap_err().to_string();
        assert!(error.contains("weir-gateway user add NAME"), "{error}");
    }
}
