//! TLS, certificates, passwords and rules.

use crate::client::Client;
use crate::order::{Order, Transport};
use crate::secured::Secured;

async fn a_certificate_is_who_a_client_is(client: Client) {
    let secured = Secured::new().await;
    let Some((mut press, _)) = client.connect(&secured.certified("press-4")).await else { return };
    press.publish(1, false, "plant/press-4/temperature", "21.5").await;
    assert_eq!(press.subscribe(1, "plant/#").await, "1");
    press.publish(2, false, "plant/press-4/temperature", "22").await;
    press.until_it_got(1).await;
    let stored = secured.stage.stored().await;
    assert!(stored.len() == 2 && stored.iter().all(|stored| stored.client == "press-4"), "{stored:?}");
    press.disconnect().await;

    // The certificate of another.
    let certificate = Some(secured.certificate("press-5"));
    let mut thief = client.start(&Order { certificate, ..secured.order("press-4") }).unwrap();
    println!("{client:?} says of a name that is not in its certificate: {}", thief.until_refused().await);
    // None at all.
    let mut nobody = client.start(&secured.order("press-4")).unwrap();
    println!("{client:?} says without a certificate: {}", nobody.until_refused().await);
}

for_each_client!(a_certificate_is_who_a_client_is);

async fn who_is_revoked_is_sent_away_and_stays_away(client: Client) {
    let secured = Secured::new().await;
    let Some((mut lost, _)) = client.connect(&secured.certified("lost")).await else { return };
    lost.publish(1, false, "plant/lost/x", "1").await;
    secured.command(&["ca", "revoke", "lost"], "");
    lost.until_disconnected().await;
    // It tries again by itself, and is never let in.
    let kept = secured.certified("kept");
    let (mut other, _) = client.connect(&kept).await.unwrap();
    other.publish(1, false, "plant/kept/x", "2").await;
    lost.is_not_connected();
}

for_each_client!(who_is_revoked_is_sent_away_and_stays_away);

async fn a_user_proves_itself_by_a_password_over_tls(client: Client) {
    let secured = Secured::new().await;
    secured.command(&["user", "add", "old-plc", "--mqtt"], "correct horse\n");
    let login = |password: &str| Some(("old-plc".to_owned(), password.to_owned()));
    let order = Order { login: login("correct horse"), ..secured.order("old-plc") };
    let Some((mut plc, _)) = client.connect(&order).await else { return };
    plc.publish(1, false, "plant/old-plc/x", "1").await;
    plc.disconnect().await;
    let mut guesser = client.start(&Order { login: login("battery staple"), ..order }).unwrap();
    println!("{client:?} says of a wrong password: {}", guesser.until_refused().await);
}

for_each_client!(a_user_proves_itself_by_a_password_over_tls);

async fn a_topic_of_another_is_refused(client: Client) {
    let secured = Secured::new().await;
    let Some((mut press, _)) = client.connect(&secured.certified("press-4")).await else { return };
    let code = press.subscribe(1, "#").await;
    assert!(code == "128" || code == "135" || code.contains("NotAuthorized"), "{client:?} was granted {code}");
    if client.is_5() {
        println!("{client:?} says: {}", press.is_refused(1, "plant/press-5/temperature").await);
    } else {
        press.tell("publish x 1 0 plant/press-5/temperature 99").await;
        press.until_disconnected().await;
    }
    assert!(secured.stage.stored().await.is_empty());
}

for_each_client!(a_topic_of_another_is_refused);

/// As a page in a browser does it, which has no way to show a certificate but the one that its user chose.
#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_over_tls_take_certificates_and_passwords() {
    let secured = Secured::new().await;
    secured.command(&["user", "add", "page", "--mqtt"], "correct horse\n");
    let by = Transport::SecureWebSocket;
    for client in Client::ALL.into_iter().filter(|client| client.knows(by)) {
        let shown = Order { certificate: Some(secured.certificate("press-4")), ..secured.order_by(by, "press-4") };
        let Some((mut press, _)) = client.connect(&shown).await else { return };
        assert_eq!(press.subscribe(1, "plant/page/#").await, "1");
        let login = |password: &str| Some(("page".to_owned(), password.to_owned()));
        let order = Order { login: login("correct horse"), ..secured.order_by(by, "page") };
        let (mut page, _) = client.connect(&order).await.unwrap();
        page.publish(1, false, "plant/page/x", "1").await;
        press.until_it_got(1).await;
        page.disconnect().await;
        press.disconnect().await;

        let mut guesser = client.start(&Order { login: login("battery staple"), ..order }).unwrap();
        println!("{client:?} says of a wrong password: {}", guesser.until_refused().await);
        let mut thief = client.start(&Order { id: "press-5".to_owned(), ..shown }).unwrap();
        println!("{client:?} says of another's certificate: {}", thief.until_refused().await);
    }
}
