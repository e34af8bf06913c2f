//! `ca`: the gateway's own authority. Beside a running gateway these commands work on the same files, by turns; it takes
//! notice of what they change at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;

use super::Failed;
use super::print::Printer;
use crate::access::ClientId;
use crate::ca::request::{MAX_REQUEST, Request};
use crate::ca::{Ca, CaError, Owner, Revoke};
use crate::config::Config;
use crate::moment;
use crate::tls::Serial;

/// What to do with the authority.
#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Make the authority, and with --server-name a certificate for the gateway itself.
    Init {
        /// What the authority is called.
        #[arg(long, default_value = "Weir gateway authority")]
        name: String,
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
    match command {
        CaCommand::Init { name, server_names } => init(&ca, name, server_names, printer),
        CaCommand::Show => show(&ca, printer),
        CaCommand::Issue(args) => issue(&ca, config, args, printer),
        CaCommand::Revoke(args) => revoke(&ca, args, printer),
        CaCommand::Crl => {
            let crl = ca.crl()?;
            printer.line(crl.trim_end(), &json!({"crl": crl}))
        }
    }
}

fn init(ca: &Ca, name: &str, server_names: &[String], printer: &mut Printer) -> Result<(), Failed> {
    match ca.init(name) {
        Err(CaError::Exists(_)) if !server_names.is_empty() => (),
        made => made?,
    }
    if !server_names.is_empty() {
        ca.serve_as(server_names)?;
    }
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

fn issue(ca: &Ca, config: &Config, args: &IssueArgs, printer: &mut Printer) -> Result<(), Failed> {
    let request = Request::parse(&bounded(&args.csr)?).map_err(CaError::from)?;
    let owner = owner(&args.tenant, &args.name)?;
    let certificate = ca.issue(&request, &owner, config.ca.lifetime.get_ref().0)?;
    let (serial, chain) = (certificate.serial.to_string(), certificate.chain);
    printer.line(chain.trim_end(), &json!({"serial": serial, "not_after": certificate.not_after, "chain": chain}))
}

fn revoke(ca: &Ca, args: &RevokeArgs, printer: &mut Printer) -> Result<(), Failed> {
    let what = match (&args.serial, &args.name) {
        (Some(serial), _) => Revoke::Serial(Serial::parse(serial).ok_or_else(|| {
            Failed::usage(format!(
                "--serial {serial}: expected hexadecimal digits, as `weir-gateway ca show` prints them"
            ))
        })?),
        (None, name) => Revoke::Owner(owner(&args.tenant, name.as_deref().unwrap_or_default())?),
    };
    for one in ca.revoke(&what)? {
        let json = json!({"serial": one.serial.to_string(), "tenant": one.tenant.as_str(), "name": one.name.as_str()});
        printer.line(format_args!("revoked {}  {}/{}", one.serial, one.tenant, one.name), &json)?;
    }
    Ok(())
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
