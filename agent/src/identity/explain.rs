//! What a failed connection means, and what to type.

/// Words in an error of TLS or MQTT, and what they mean to a person.
const MEANINGS: &[(&[&str], &str)] = &[
    (
        &["alert: CertificateRevoked"],
        "the gateway has revoked this agent's certificate: `weir-agent enroll --force` with a new token gets another",
    ),
    (
        &["alert: CertificateExpired"],
        "this agent's certificate has ended: `weir-agent enroll --force` with a new token gets another",
    ),
    (
        // The second when two authorities have one name.
        &["alert: UnknownCA", "alert: DecryptError"],
        "the gateway does not know the authority of this agent's certificate: `weir-agent enroll --force` with a token of \
         this gateway gets one of its own",
    ),
    // The second when two authorities have one name.
    (
        &["UnknownIssuer", "peer certificate: BadSignature"],
        "the gateway's certificate is not of the authority that this agent trusts: set uplink.ca, or `weir-agent enroll \
         --force` at the right gateway",
    ),
    (
        &["NotValidForName", "certificate not valid for name"],
        "the gateway's certificate is for other names: use one of them as the address, or `weir-gateway ca init \
         --server-name` with this one",
    ),
    (
        &["invalid peer certificate: Expired", "certificate expired"],
        "the gateway's certificate has ended; is the clock of this machine right (`date`)?",
    ),
    (
        &["NotValidYet", "certificate not valid yet"],
        "the gateway's certificate has not begun: is the clock of this machine right (`date`)?",
    ),
    (
        // As it is heard of one that closes, of one that resets, and of one that answers in HTTP.
        &["tls handshake eof", "TLS: I/O: Connection reset", "(Connect): Connection reset", "InvalidContentType"],
        "nobody seems to speak TLS at this port: is it the right one (8883 for MQTT)? Without TLS write mqtt:// in place of \
         mqtts://, http:// in place of https://",
    ),
    (&["HTTP code is not equal 200: 407"], "the proxy wants another user or password: see uplink.proxy"),
    (
        &["HTTP code is not equal 200"],
        "the proxy does not connect there: see uplink.proxy, and whether the proxy allows this address and port",
    ),
    (&["HTTP error: 404"], "no MQTT over WebSocket at that path: a Weir gateway has it at /mqtt of its HTTP port"),
    (&["BadUserNamePassword"], "wrong user name or password: see uplink.username and uplink.password_file"),
    (
        &["NotAuthorized"],
        "the gateway does not let this agent in: `weir-agent enroll` gets it a certificate, and its name must be that in it",
    ),
];

/// `error`, and behind it what it means, where that is known.
pub fn explain(error: &str) -> String {
    // Some are as the library names them, some as it prints them.
    let is_it = |words: &&str| {
        error.contains(*words)
            || words.strip_prefix("alert: ").is_some_and(|alert| error.contains(alert) && error.contains("alert"))
    };
    let found = MEANINGS.iter().find(|(words, _)| words.iter().any(is_it));
    match found {
        Some((_, meaning)) => format!("{error}; {meaning}"),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_known_says_what_to_type() {
        let said = explain("TLS: I/O: received fatal alert: CertificateRevoked");
        assert!(said.contains("`weir-agent enroll --force` with a new token"), "{said}");
        let said = explain("invalid peer certificate: certificate expired: verification time 2 (UNIX)");
        assert!(said.contains("is the clock of this machine right"), "{said}");
        for said in ["TLS: I/O: tls handshake eof", "received corrupt message of type InvalidContentType"] {
            assert!(explain(said).contains("write mqtt:// in place of mqtts://"), "{said}");
        }
        assert_eq!(explain("connection reset"), "connection reset");
    }
}
