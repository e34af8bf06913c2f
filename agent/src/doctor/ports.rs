//! Where the agent listens itself, while it does not: whether it could.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::{Check, Ground, Person};
use crate::http::Address;

pub(super) fn check(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let config = ground.config;
    // One that is not named is made where the data is.
    let named = config.local.listen.iter().flat_map(|ports| &ports.get_ref().0);
    let local = named.map(|address| port(person, "local.listen", address));
    let pushed = config.line_protocol.iter().map(|port| port.listen.get_ref());
    let pushed = pushed.map(|address| port(person, "line_protocol.listen", address));
    local.chain(pushed).collect()
}

fn port(person: &Person, subject: &str, address: &Address) -> Check {
    let path = match address {
        Address::Tcp(address) => return tcp(subject, *address),
        Address::Unix(path) => path,
    };
    let directory = path.parent().unwrap_or(path);
    let (shown, name) = (directory.display(), &person.name);
    let make = format!("sudo install -d -o {name} -g {name} -m 750 {shown}, or RuntimeDirectory= in the unit");
    if !directory.is_dir() {
        Check::problem(subject, format!("{shown} is not there for {}", path.display()), make)
    } else if !person.may_use(directory) {
        Check::problem(subject, format!("{name} may make no socket in {shown}"), make)
    } else {
        Check::ok(subject, format!("{} can be made", path.display()))
    }
}

/// Listens for a moment.
fn tcp(subject: &str, address: SocketAddr) -> Check {
    let port = address.port();
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(subject, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let fix = format!("sudo ss -ltnp 'sport = :{port}' says who; stop that, or write another port");
            Check::problem(subject, format!("somebody else listens on {address}"), fix)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let fix = "write a port of 1024 or above, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit";
            Check::warning(subject, format!("{address}: {error} for whoever types this"), fix)
        }
        Err(error) => Check::problem(subject, format!("{address}: {error}"), "ip addr says which addresses there are"),
    }
}
