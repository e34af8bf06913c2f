//! One connection's way to a user.

use bytes::Bytes;

use super::scram::{ClientFirst, Exchange};
use super::{Denied, MOST_MESSAGE, Mechanism, Tokens, Users, plain, tokens};
use crate::access::{Caller, Role, Unproven};
use crate::kafka::messages::{ApiKey, ErrorCode, sasl_authenticate, sasl_handshake};

/// Where a connection stands.
pub struct Session {
    /// None: there are no users, and nobody has to prove anything.
    users: Option<Users>,
    /// None: tokens are unknown here.
    tokens: Option<Tokens>,
    state: State,
}

enum State {
    /// Nothing was said.
    Fresh,
    /// A mechanism was chosen.
    Chosen(Mechanism),
    /// The client has to prove that it is this user.
    Challenged(String, Box<Exchange>),
    /// It has.
    User(String, Option<Caller>),
    /// It was denied, or did what no client does.
    Ended,
}

/// What to do after a message of a mechanism.
#[derive(Debug)]
pub struct Step {
    /// What to answer.
    pub response: sasl_authenticate::Response,
    /// Why the client was denied, for the log: the connection is closed after the answer.
    pub denied: Option<Denied>,
}

impl Session {
    /// A new connection.
    pub fn new(users: Option<Users>) -> Self {
        Self { users, tokens: None, state: State::Fresh }
    }

    /// Takes tokens too.
    pub fn with_tokens(self, tokens: Option<Tokens>) -> Self {
        Self { tokens, ..self }
    }

    /// What it may do. Users of the settings read; whoever need not prove anything does everything.
    pub fn role(&self) -> Role {
        match &self.state {
            State::User(_, Some(caller)) => caller.role,
            State::User(_, None) => Role::Viewer,
            _ if self.users.is_none() => Role::Admin,
            _ => Role::Viewer,
        }
    }

    /// Who came with a token.
    pub fn caller(&self) -> Option<&Caller> {
        match &self.state {
            State::User(_, caller) => caller.as_ref(),
            _ => None,
        }
    }

    /// The users that it was judged by.
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// Whether a request may be answered now. If not, the connection is closed: no client gets here by accident but one
    /// that is not set to authenticate, and it has no way to read an answer.
    pub fn admits(&self, key: ApiKey) -> bool {
        let proves = matches!(key, ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
        self.is_open() || (proves && !matches!(self.state, State::Ended))
    }

    /// Whether all requests are admitted.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Ended => false,
            State::User(..) => true,
            _ => self.users.is_none(),
        }
    }

    /// Who it is, once that is proven.
    pub fn user(&self) -> Option<&str> {
        match &self.state {
            State::User(name, _) => Some(name),
            _ => None,
        }
    }

    /// The client chooses a mechanism.
    pub fn handshake(&mut self, mechanism: &str) -> sasl_handshake::Response {
        let mechanisms = || Mechanism::ALL.map(|mechanism| mechanism.name().to_owned()).to_vec();
        let (error, mechanisms) = match (&self.users, &self.state) {
            (Some(_), State::Fresh | State::Chosen(_)) => {
                match Mechanism::ALL.into_iter().find(|known| known.name() == mechanism) {
                    Some(known) => {
                        self.state = State::Chosen(known);
                        (ErrorCode::None, mechanisms())
                    }
                    None => (ErrorCode::UnsupportedSaslMechanism, mechanisms()),
                }
            }
            // Nothing to prove, or proven already.
            _ => (ErrorCode::IllegalSaslState, Vec::new()),
        };
        sasl_handshake::Response { error, mechanisms }
    }

    /// Takes a message of the mechanism.
    pub async fn authenticate(&mut self, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (Some(users), true) = (&self.users, matches!(state, State::Chosen(_) | State::Challenged(..))) else {
            // A client that has to prove nothing goes on as before; the answer is all that it needs.
            self.state = state;
            return Step::illegal();
        };
        match proceed(users, self.tokens.as_ref(), state, message).await {
            Ok((state, answer)) => {
                self.state = state;
                Step::answered(answer)
            }
            Err(denied) => Step::denied(denied),
        }
    }
}

async fn proceed(
    users: &Users,
    tokens: Option<&Tokens>,
    state: State,
    message: &[u8],
) -> Result<(State, String), Denied> {
    // A token is nothing that one guesses: only names and passwords are.
    let may_guess = || match tokens.is_some_and(Tokens::is_shut_out) {
        true => Err(Denied::Token(Unproven::TooOften)),
        false => Ok(()),
    };
    let tried = |user: &str, is_in: bool| {
        if let Some(tokens) = tokens {
            tokens.tried(user, is_in);
        }
    };
    match state {
        State::Chosen(mechanism) if message.len() > MOST_MESSAGE => Err(Denied::Message(mechanism)),
        State::Chosen(Mechanism::Plain) => {
            let message = plain::Message::read(message)?;
            let user = message.user.to_owned();
            if let Some(tokens) = tokens.filter(|_| user == tokens::USER) {
                let caller = tokens.holder(message.password)?;
                return Ok((State::User(user, Some(caller)), String::new()));
            }
            may_guess()?;
            let verified = users.verify(message).await;
            tried(&user, verified != Err(Denied::Credentials));
            verified?;
            Ok((State::User(user, None), String::new()))
        }
        State::Chosen(Mechanism::ScramSha256) => {
            may_guess()?;
            let first = ClientFirst::read(message)?;
            let (exchange, answer) = Exchange::begin(&first, users.secret(&first.user), users.random()?);
            Ok((State::Challenged(first.user, Box::new(exchange)), answer))
        }
        State::Challenged(user, exchange) => {
            may_guess()?;
            let ended = exchange.end(message);
            tried(&user, ended != Err(Denied::Credentials));
            Ok((State::User(user, None), ended?))
        }
        State::Fresh | State::User(..) | State::Ended => Err(Denied::Credentials),
    }
}

impl Step {
    fn answered(answer: String) -> Self {
        let response = sasl_authenticate::Response { auth_bytes: Bytes::from(answer), ..Default::default() };
        Self { response, denied: None }
    }

    fn illegal() -> Self {
        let error_message = Some("SaslAuthenticate without a SaslHandshake before it".to_owned());
        let response =
            sasl_authenticate::Response { error: ErrorCode::IllegalSaslState, error_message, ..Default::default() };
        Self { response, denied: None }
    }

    /// The same answer whatever it was, so that nobody learns names by asking.
    fn denied(denied: Denied) -> Self {
        let error_message = Some("Authentication failed: unknown user, wrong password or malformed message".to_owned());
        let response = sasl_authenticate::Response {
            error: ErrorCode::SaslAuthenticationFailed,
            error_message,
            ..Default::default()
        };
        Self { response, denied: Some(denied) }
    }
}
