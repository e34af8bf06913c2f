//! Asking the agent that runs with some settings.

use serde::de::DeserializeOwned;

use super::settings::Running;
use super::status::Status;
use crate::config::Config;
use crate::http::{ClientError, Reply, get};

/// Why the running agent did not say.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It listens nowhere.
    #[error("local.listen is empty: the agent cannot be asked; remove the line, or name a socket, and start it again")]
    Nowhere,
    /// It is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It answers what this version does not understand.
    #[error("{path} answered {status}: {text}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        text: String,
    },
}

/// Asks for `path`, at the first address of the settings that answers.
///
/// # Errors
/// [`AskError`].
pub async fn ask(config: &Config, path: &str) -> Result<Reply, AskError> {
    let mut failed = AskError::Nowhere;
    for address in config.local.addresses(&config.data_dir) {
        match get(&address, path).await {
            Ok(reply) => return Ok(reply),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// Its status.
///
/// # Errors
/// [`AskError`].
pub async fn status(config: &Config) -> Result<Status, AskError> {
    document(config, "/status").await
}

/// The settings that it runs with.
///
/// # Errors
/// [`AskError`].
pub async fn settings(config: &Config) -> Result<Running, AskError> {
    document(config, "/settings").await
}

async fn document<T: DeserializeOwned>(config: &Config, path: &str) -> Result<T, AskError> {
    let reply = ask(config, path).await?;
    let status = reply.status();
    let text = reply.text().await?;
    serde_json::from_str(&text).map_err(|_| AskError::Refused { path: path.to_owned(), status, text })
}
