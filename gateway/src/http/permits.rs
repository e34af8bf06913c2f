//! Which role each path needs: the one table of it. What is not in it is for admins.

use axum::http::Method;

use crate::access::Role;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    method: &'static str,
    path: &'static str,
    /// The role; `None`: it is for everybody, or its handler asks for a proof of its own.
    pub(super) role: Option<Role>,
    /// Whether it changes something, and so is in the audit.
    pub(super) is_act: bool,
    /// Whether a token of one tenant is good for it: it shows and changes that tenant's alone, or nothing of any tenant.
    pub(super) is_of_tenants: bool,
}

/// For everybody.
const fn open(method: &'static str, path: &'static str) -> Permit {
    Permit { method, path, role: None, is_act: false, is_of_tenants: true }
}

/// Looks at something.
const fn view(method: &'static str, path: &'static str) -> Permit {
    Permit { method, path, role: Some(Role::Viewer), is_act: false, is_of_tenants: false }
}

/// Changes something.
const fn act(method: &'static str, path: &'static str, role: Role) -> Permit {
    Permit { method, path, role: Some(role), is_act: true, is_of_tenants: false }
}

impl Permit {
    const fn of_tenants(self) -> Self {
        Self { is_of_tenants: true, ..self }
    }

    const fn only(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }
}

/// The metrics, which `http.open_metrics` gives to everybody.
pub(super) const METRICS: &str = "/metrics";

use Role::{Admin, Operator};

pub(super) const PERMITS: &[Permit] = &[
    open("GET", "/healthz"),
    open("GET", "/readyz"),
    // A token of their own, and a certificate.
    open("POST", "/enroll"),
    open("POST", "/renew"),
    // CONNECT proves who it is.
    open("GET", "/mqtt"),
    view("GET", METRICS),
    view("GET", "/version").of_tenants(),
    view("GET", "/status").of_tenants(),
    view("GET", "/topics").of_tenants(),
    view("GET", "/topics/{topic}").of_tenants(),
    view("GET", "/topics/{topic}/partitions/{partition}/records").of_tenants(),
    view("GET", "/topics/{topic}/tail").of_tenants(),
    view("GET", "/devices").of_tenants(),
    view("GET", "/devices/{device}").of_tenants(),
    act("POST", "/devices/{device}/owner", Operator),
    view("GET", "/sessions").of_tenants(),
    view("GET", "/sessions/{tenant}/{client}").of_tenants(),
    act("DELETE", "/sessions/{tenant}/{client}", Operator).of_tenants(),
    view("GET", "/deadletters/{partition}").of_tenants(),
    act("POST", "/deadletters/redrive", Operator),
    view("GET", "/groups"),
    view("GET", "/groups/{group}"),
    act("DELETE", "/groups/{group}", Operator),
    act("POST", "/groups/{group}/reset", Operator),
    // What a consumer does each second.
    view("POST", "/groups/{group}/commit"),
    view("GET", "/subjects").of_tenants(),
    view("GET", "/subjects/{subject}").of_tenants(),
    view("POST", "/subjects/{subject}").of_tenants(),
    view("GET", "/subjects/{subject}/versions").of_tenants(),
    view("GET", "/subjects/{subject}/versions/{version}").of_tenants(),
    view("GET", "/subjects/{subject}/versions/{version}/schema").of_tenants(),
    view("GET", "/subjects/{subject}/versions/{version}/referencedby").of_tenants(),
    view("GET", "/schemas").of_tenants(),
    view("GET", "/schemas/types").of_tenants(),
    view("GET", "/schemas/ids/{id}").of_tenants(),
    view("GET", "/schemas/ids/{id}/schema").of_tenants(),
    view("GET", "/schemas/ids/{id}/subjects").of_tenants(),
    view("GET", "/schemas/ids/{id}/versions").of_tenants(),
    view("GET", "/config").of_tenants(),
    view("GET", "/config/{subject}").of_tenants(),
    view("GET", "/mode").of_tenants(),
    view("GET", "/mode/{subject}").of_tenants(),
    view("GET", "/contexts").of_tenants(),
    view("GET", "/access/users").only(Admin),
    act("PUT", "/access/users/{name}", Admin),
    act("DELETE", "/access/users/{name}", Admin),
    view("GET", "/access/tokens").only(Admin),
    act("POST", "/access/tokens", Admin),
    act("DELETE", "/access/tokens/{id}", Admin),
    act("POST", "/ca", Admin),
    act("POST", "/ca/certificates/{tenant}/{client}", Admin),
    act("DELETE", "/ca/certificates/{tenant}/{client}", Admin),
    act("DELETE", "/ca/serials/{serial}", Admin),
];

/// What a request for this path, as it is registered, needs.
pub(super) fn permit(method: &Method, path: &str) -> Permit {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let of_path = || PERMITS.iter().filter(|permit| permit.path == path);
    let found = of_path().find(|permit| permit.method == method).copied();
    // A method that the path has not: it is told so, by whoever may look.
    let other = || of_path().next().map(|known| Permit { role: Some(Role::Viewer), is_act: false, ..*known });
    found.or_else(other).unwrap_or(act("", "", Admin))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The paths in the sources of this module.
    fn registered(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                registered(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let squeezed: String = text.split_whitespace().collect();
            // In two pieces, or this line would be a path.
            let mark = [".route", "(\""].concat();
            found.extend(squeezed.split(&mark).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }

    /// Whoever adds a path says here who may use it.
    #[test]
    fn every_path_has_its_role() {
        let mut paths = BTreeSet::new();
        registered(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut paths);
        assert!(paths.len() > 30, "{paths:?}");
        let known: BTreeSet<String> = PERMITS.iter().map(|permit| permit.path.to_owned()).collect();
        let missing: Vec<_> = paths.difference(&known).collect();
        assert!(missing.is_empty(), "without a role: {missing:?}");
        let stale: Vec<_> = known.difference(&paths).collect();
        assert!(stale.is_empty(), "in the table and nowhere else: {stale:?}");
    }

    #[test]
    fn what_is_not_in_the_table_is_for_admins_and_what_changes_something_is_in_the_audit() {
        let unknown = permit(&Method::GET, "/nothing");
        assert_eq!((unknown.role, unknown.is_act, unknown.is_of_tenants), (Some(Admin), true, false));
        assert_eq!(permit(&Method::HEAD, "/topics"), permit(&Method::GET, "/topics"));
        assert_eq!(permit(&Method::PUT, "/topics").role, Some(Role::Viewer));
        for permit in PERMITS.iter().filter(|permit| permit.role > Some(Role::Viewer) && permit.method != "GET") {
            assert!(permit.is_act, "{permit:?}");
        }
    }
}
