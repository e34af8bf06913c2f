//! The line for kcat. Not every kcat can decode Avro: that is said where it lists what it was built with.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Prints the readings from the first on. Values are decoded through the registry on `http`, if there is one, and if this kcat can.
pub(super) fn line(kafka: SocketAddr, http: Option<SocketAddr>) -> String {
    let base = format!("kcat -b {kafka} -C -t readings -o beginning");
    if let Some(http) = http.filter(|_| has_avro()) {
        format!("{base} -s value=avro -r http://{http}")
    } else {
        format!(r"{base} -f '%p:%o %T %k %S bytes\n'")
    }
}

/// Whether kcat is there and says `Avro` among what it was built with.
fn has_avro() -> bool {
    let asked = Command::new("kcat").arg("-V").stdin(Stdio::null()).output();
    asked.is_ok_and(|answer| String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).contains("Avro"))
}
