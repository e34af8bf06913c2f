//! Asking the agent that runs with some settings.

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

/// Asks for `path`, at the first address of the settings.
///
/// # Errors
/// [`AskError`].
pub async fn ask(config: &Config, path: &str) -> Result<Reply, AskError> {
    let addresses = config.local.addresses(&config.data_dir);
    Ok(get(addresses.first().ok_or(AskError::Nowhere)?, path).await?)
}

/// Its status.
///
/// # Errors
/// [`AskError`].
pub async fn status(config: &Config) -> Result<Status, AskError> {
    let path = "/status";
    let reply = ask(config, path).await?;
    let status = reply.status();
    let text = reply.text().await?;
    serde_json::from_str(&text).map_err(|_| AskError::Refused { path: path.to_owned(), status, text })
}
