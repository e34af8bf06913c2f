//! `ca`: the gateway's own authority. Beside a running gateway it does what is asked, else the command does it in the files,
//! under the gateway's own claim; either way it is in the audit ([`Admin`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;

use super::Failed;
use super::admin::{Admin, OfAuthority};
use super::client::escaped;
use super::print::{Printer, bare};
use crate::access::ClientId;
use crate::ca::request::{MAX_REQUEST, Request};
use crate::ca::{Ca, CaError, Owner, Revoke};
use crate::config::Config;
use crate::http::authority::Authority;
use crate::moment;
use crate::tls::Serial;

/// What to do with the authority.
#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Make the authority, and with --server-name a certificate for the gateway itself.
    Init {
        /// What the authority is called; `Weir CA` and the beginning of its serial number unless it is said. Whoever trusts
        /// several authorities looks for theirs by name: each needs its own.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        name: Option<String>,
        /// A name or address by which clients reach this gateway; may be repeated. With an authority that is there already
        /// only the gateway's certificate is made.
        #[arg(long = "server-name", value_name = "HOST")]
        server_names: Vec<String>,
    },
    /// Show the authority and the certificates that are good now.
    Show,
    /// Certify the key of a request for a client.
    Issue(IssueArgs),
    /// Revoke the certificates of a client, or one; its connections end at once.
    Revoke(RevokeArgs),
    /// Print the list of revoked certificates.
    Crl,
}

/// Whom a certificate is for.
#[derive(Debug, Args)]
pub(super) struct IssueArgs {
    /// The request, a PEM file as `openssl req -new` makes it.
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The client id.
    #[arg(long)]
    name: String,
    /// Its tenant.
    #[arg(long, default_value = "default")]
    tenant: String,
}

/// What is revoked.
#[derive(Debug, Args)]
#[group(required = true)]
pub(super) struct RevokeArgs {
    /// The client id.
    #[arg(conflicts_with = "serial")]
    name: Option<String>,
    /// One certificate, by its serial number.
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// The tenant of the client.
    #[arg(long, default_value = "default", conflicts_with = "serial")]
    tenant: String,
}

pub(super) fn run(config: &Config, command: &CaCommand, printer: &mut Printer) -> Result<(), Failed> {
    let ca = Ca::new(&config.data, Arc::new(SystemClock));
    let authority = Authority { ca: ca.clone(), lifetime: config.ca.lifetime.get_ref().0 };
    match command {
        CaCommand::Init { name, server_names } => init(&authority, config, name.as_deref(), server_names, printer),
        CaCommand::Show => show(&ca, printer),
        CaCommand::Issue(args) => issue(&authority, config, args, printer),
        CaCommand::Revoke(args) => revoke(&authority, config, args, printer),
        CaCommand::Crl => {
            let crl = ca.crl()?;
            printer.line(crl.trim_end(), &json!({"crl": crl}))
        }
    }
}

fn init(
    authority: &Authority,
    config: &Config,
    name: Option<&str>,
    server_names: &[String],
    printer: &mut Printer,
) -> Result<(), Failed> {
    let body = json!({"name": name, "server_names": server_names});
    let asked = OfAuthority { method: "POST", route: "/ca", path: "/ca".to_owned(), body: &body };
    Admin::with(config, async |admin| admin.of_authority(asked, || authority.init(name, server_names)).await)?;
    let ca = &authority.ca;
    let (certificate, fingerprint) = (ca.paths().certificate.display().to_string(), fingerprint(ca)?);
    let text = format!("authority {certificate}\nsha256 {fingerprint}");
    printer.line(text, &json!({"certificate": certificate, "sha256": fingerprint, "server_names": server_names}))?;
    let next = match server_names {
        [] => "`weir-gateway ca init --server-name HOST` makes the gateway's own certificate",
        _ => {
            "Set mqtt.tls_listen and http.tls = true, and restart the gateway; `weir-gateway token create --enroll NAME` lets a device in"
        }
    };
    eprintln!("{next}. Keep {} safe: whoever has the key in it can be any device.", ca.paths().dir.display());
    Ok(())
}

fn show(ca: &Ca, printer: &mut Printer) -> Result<(), Failed> {
    let mut issued = ca.issued()?;
    let fingerprint = fingerprint(ca)?;
    let certificate = ca.paths().certificate.display().to_string();
    printer.line(
        format!("authority {certificate}\nsha256 {fingerprint}"),
        &json!({"certificate": certificate, "sha256": fingerprint}),
    )?;
    issued.sort_by(|a, b| (a.tenant, &a.name, a.not_after).cmp(&(b.tenant, &b.name, b.not_after)));
    for one in issued {
        let until = moment::format(one.not_after.saturating_mul(1000));
        let state = match one.revoked_at {
            Some(at) => format!("revoked {}", moment::format(at.saturating_mul(1000))),
            None => "good".to_owned(),
        };
        let json = json!({
            "serial": one.serial.to_string(), "tenant": one.tenant.as_str(), "name": one.name.as_str(),
            "not_after": one.not_after, "revoked_at": one.revoked_at,
        });
        printer.line(format_args!("{}  until {until}  {state}  {}/{}", one.serial, one.tenant, one.name), &json)?;
    }
    Ok(())
}

fn issue(authority: &Authority, config: &Config, args: &IssueArgs, printer: &mut Printer) -> Result<(), Failed> {
    let csr = bounded(&args.csr)?;
    let request = Request::parse(&csr).map_err(CaError::from)?;
    let owner = owner(&args.tenant, &args.name)?;
    // It was read, so it is PEM.
    let body = json!({"csr": String::from_utf8_lossy(&csr)});
    let asked = OfAuthority { method: "POST", route: CERTIFICATES, path: certificates(&owner), body: &body };
    let issued =
        Admin::with(config, async |admin| admin.of_authority(asked, || authority.issue(&owner, &request)).await)?;
    printer.line(bare(&issued["chain"]).trim_end(), &issued)
}

fn revoke(authority: &Authority, config: &Config, args: &RevokeArgs, printer: &mut Printer) -> Result<(), Failed> {
    let (what, route, path) = match (&args.serial, &args.name) {
        (Some(serial), _) => {
            let serial = Serial::parse(serial).ok_or_else(|| {
                Failed::usage(format!(
                    "--serial {serial}: expected hexadecimal digits, as `weir-gateway ca show` prints them"
                ))
            })?;
            let path = format!("/ca/serials/{serial}");
            (Revoke::Serial(serial), "/ca/serials/{serial}", path)
        }
        (None, name) => {
            let owner = owner(&args.tenant, name.as_deref().unwrap_or_default())?;
            let path = certificates(&owner);
            (Revoke::Owner(owner), CERTIFICATES, path)
        }
    };
    let asked = OfAuthority { method: "DELETE", route, path, body: &Value::Null };
    let answer = Admin::with(config, async |admin| admin.of_authority(asked, || authority.revoke(&what)).await)?;
    for one in answer["revoked"].as_array().into_iter().flatten() {
        let text = |key: &str| bare(&one[key]);
        printer.line(format_args!("revoked {}  {}/{}", text("serial"), text("tenant"), text("name")), one)?;
    }
    Ok(())
}

/// The certificates of one client, as HTTP has them.
const CERTIFICATES: &str = "/ca/certificates/{tenant}/{client}";

fn certificates(owner: &Owner) -> String {
    format!("/ca/certificates/{}/{}", owner.tenant, escaped(owner.name.as_str()))
}

fn owner(tenant: &str, name: &str) -> Result<Owner, Failed> {
    let tenant: Tenant = tenant.parse().map_err(|error| Failed::usage(format!("--tenant {tenant}: {error}")))?;
    let name = ClientId::new(name).map_err(|error| Failed::usage(format!("{name:?}: {error}")))?;
    Ok(Owner { tenant, name })
}

/// A file that cannot be larger than what is expected of it.
fn bounded(path: &Path) -> Result<Vec<u8>, Failed> {
    use std::io::Read;
    let failed = |error: std::io::Error| Failed::runtime(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_REQUEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// SHA-256 of the authority's certificate, as `openssl x509 -fingerprint -sha256` prints it.
fn fingerprint(ca: &Ca) -> Result<String, Failed> {
    let der = CertificateDer::from_pem_file(&ca.paths().certificate);
    let der = der.map_err(|error| Failed::runtime(format!("{}: {error}", ca.paths().certificate.display())))?;
    let digest = digest(&SHA256, &der);
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

impl From<CaError> for Failed {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Missing(_) => Self::unavailable(error),
            CaError::Request(_) | CaError::Unknown(_) => Self::usage(error),
            error => Self::runtime(error),
        }
    }
}
