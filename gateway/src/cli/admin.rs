//! Users, tokens and the authority, changed through the gateway that runs on the data, or in its files while none does.
//!
//! What it guarantees: a change is on disk when the command ends; in the files it is made under the gateway's own claim, so
//! never beside a gateway, and both ways it is in the audit.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_protocol::time::{SystemClock, WallClock};
use weir_storage::{Fs, RealFs, durable};

use super::client::{Client, escaped};
use super::{Failed, source};
use crate::access::admin::{AdminError, NewToken, NewUser};
use crate::access::audit::Audit;
use crate::access::credentials::Credentials;
use crate::access::{Access, Caller, Parts, Role, Settings, Who};
use crate::ca::CaError;
use crate::config::Config;
use crate::http::authority;
use crate::limits::{Limits, LimitsOptions};
use crate::lock::{Claim, Running};
use crate::tls::Revocations;

/// Where users and tokens are changed.
pub(super) enum Admin {
    /// The socket of a running gateway.
    Gateway(Client),
    /// The files.
    Files(Files),
}

/// The files, claimed.
pub(super) struct Files {
    access: Access,
    _claim: Claim,
}

impl Admin {
    /// Does something with them.
    pub(super) fn with<T>(config: &Config, act: impl AsyncFnOnce(&Self) -> Result<T, Failed>) -> Result<T, Failed> {
        super::block_on(async {
            let admin = match source::running(config).await? {
                Some(client) => Self::Gateway(client),
                None => Self::Files(Files::open(config)?),
            };
            let result = act(&admin).await;
            if let Self::Files(files) = &admin {
                files.access.credentials().stop();
                files.access.audit().stop();
            }
            result
        })
    }

    /// Makes a user of MQTT, or replaces its password.
    pub(super) async fn set_user(&self, user: NewUser) -> Result<(), Failed> {
        let path = format!("/access/users/{}", escaped(&user.name));
        match self {
            Self::Gateway(client) => {
                let body = json!({"password": user.password, "tenant": user.tenant, "clients": user.clients});
                client.put(&path, &body).await.map(|_| ())
            }
            Self::Files(files) => {
                files.act("PUT /access/users/{name}", &path, files.access.set_user(user), |()| String::new()).await
            }
        }
    }

    /// Removes a user of MQTT.
    pub(super) async fn remove_user(&self, name: &str) -> Result<(), Failed> {
        let path = format!("/access/users/{}", escaped(name));
        match self {
            Self::Gateway(client) => client.delete(&path).await.map(|_| ()),
            Self::Files(files) => {
                let removed = files.access.remove_user(name);
                files.act("DELETE /access/users/{name}", &path, removed, |()| String::new()).await
            }
        }
    }

    /// The users of MQTT.
    pub(super) async fn users(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(client) => list(client.json("/access/users").await?),
            Self::Files(files) => Ok(files.access.users()),
        }
    }

    /// Makes a token; its id and the token.
    pub(super) async fn create_token(&self, token: NewToken) -> Result<(String, String), Failed> {
        const PATH: &str = "/access/tokens";
        match self {
            Self::Gateway(client) => {
                let body = json!({
                    "name": token.name,
                    "role": token.role,
                    "enroll": token.enroll,
                    "tenant": token.tenant,
                    "expires_ms": token.expires_ms,
                });
                let made = client.change(PATH, &body).await?;
                let text = |key: &str| super::print::bare(&made[key]);
                Ok((text("id"), text("token")))
            }
            Self::Files(files) => {
                let what = token.to_string();
                let made = files.access.create_token(token);
                files.act("POST /access/tokens", PATH, made, |(id, _)| format!("{id} {what}")).await
            }
        }
    }

    /// The tokens.
    pub(super) async fn tokens(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(client) => list(client.json("/access/tokens").await?),
            Self::Files(files) => Ok(files.access.tokens()),
        }
    }

    /// Revokes a token.
    pub(super) async fn revoke_token(&self, id: &str) -> Result<(), Failed> {
        let path = format!("/access/tokens/{}", escaped(id));
        match self {
            Self::Gateway(client) => client.delete(&path).await.map(|_| ()),
            Self::Files(files) => {
                files.act("DELETE /access/tokens/{id}", &path, files.access.revoke_token(id), |()| String::new()).await
            }
        }
    }
}

/// An act of the authority: method and path as they are registered, the path itself, and what is sent.
pub(super) struct OfAuthority<'a> {
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) path: String,
    pub(super) body: &'a Value,
}

impl Admin {
    /// Does something with the authority: the gateway does it, or `act` in the files; the answer.
    pub(super) async fn of_authority(
        &self,
        asked: OfAuthority<'_>,
        act: impl FnOnce() -> Result<Value, CaError>,
    ) -> Result<Value, Failed> {
        let OfAuthority { method, route, path, body } = asked;
        match self {
            Self::Gateway(client) if method == "DELETE" => client.delete(&path).await,
            Self::Gateway(client) => client.change(&path, body).await,
            Self::Files(files) => {
                files.act(&format!("{method} {route}"), &path, async { act() }, authority::detail).await
            }
        }
    }
}

impl Files {
    fn open(config: &Config) -> Result<Self, Failed> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
        durable::create_dir_all(&*fs, &config.data).map_err(Failed::runtime)?;
        let instance = format!("command-{}", std::process::id());
        // Nobody finds a gateway at port 0.
        let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let running = Running { pid: std::process::id(), http: nowhere, kafka: None, mqtt_tls: None, instance };
        let claim = Claim::new(&*fs, &config.data, &running).map_err(Failed::unavailable)?;
        let (credentials, _) = Credentials::open(&fs, &config.data).map_err(Failed::runtime)?;
        let audit = Audit::open(&fs, &config.data, Arc::clone(&clock)).map_err(Failed::runtime)?;
        let (revocations, limits) = (Revocations::default(), Limits::new(LimitsOptions::NONE));
        let parts = Parts { credentials, revocations, audit, limits, clock, most_waiting: 1 };
        Ok(Self { access: Access::new(parts, Settings::open()), _claim: claim })
    }

    async fn act<T, E: Display + Into<Failed>>(
        &self,
        name: &str,
        target: &str,
        act: impl Future<Output = Result<T, E>>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, Failed> {
        let who = Who::Local(rustix::process::getuid().as_raw());
        let caller = Caller { who, role: Role::Admin, tenant: None, address: None };
        let id = self.access.new_id().ok_or_else(|| Failed::runtime("no randomness from the system"))?;
        let begun = self.access.audit().begin(&caller, name, &id, target).await.map_err(Failed::runtime)?;
        let result = act.await;
        let said = result.as_ref().map_or_else(ToString::to_string, |_| "200".to_owned());
        let begun = match &result {
            Ok(done) => begun.with_detail(&detail(done)),
            Err(_) => begun,
        };
        begun.end(result.is_ok(), &said).await.map_err(Failed::runtime)?;
        result.map_err(E::into)
    }
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Self {
        Self::runtime(error)
    }
}

fn list(answer: Value) -> Result<Vec<Value>, Failed> {
    match answer {
        Value::Array(all) => Ok(all),
        other => Err(Failed::runtime(format!("expected a list, got {other}"))),
    }
}
