//! The metrics of TLS.

use super::Tls;
use crate::http::metrics::Text;

impl Tls {
    /// Writes them.
    pub fn metrics(&self, out: &mut Text) {
        let (full, resumed) = self.counters().handshakes();
        let kinds = [("kind=\"full\"", full), ("kind=\"resumed\"", resumed)];
        out.counters("tls_handshakes", "TLS handshakes that were done.", kinds);
        let failures = self.counters().failures();
        let failures = failures.map(|(reason, count)| (format!("reason=\"{}\"", reason.as_str()), count));
        out.counters("tls_handshakes_failed", "TLS handshakes that failed.", failures);
        let (applied, refused) = self.counters().reloads();
        let outcomes = [("outcome=\"applied\"", applied), ("outcome=\"refused\"", refused)];
        out.counters("tls_reloads", "Times that the files of TLS were read again.", outcomes);
        let ends = u64::try_from(self.not_after()).unwrap_or(0);
        out.gauge(
            "tls_certificate_not_after_seconds",
            "When the gateway's certificate ends, in seconds since 1970.",
            ends,
        );
        let revoked = self.shared.revocations.len() as u64;
        out.gauge("tls_revoked", "Client certificates that are revoked now.", revoked);
    }
}
