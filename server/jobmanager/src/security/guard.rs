//! Lets clients in, or tells them what they lack.
//!
//! Whoever takes a line out of the file of tokens wants somebody out, so what the file says counts at once, and if it
//! has no line or is not there any more, nobody is in. A file of which nothing can be made is most likely one that is
//! being written, or has a slip in it: servers that read their configuration again keep the earlier one then, as to end
//! the access of everybody at the slip of one is a fault of its own. But they keep it for ever, and whoever was to be
//! out stays in without anybody knowing. Here the earlier tokens count for [a minute](LAPSE) more, the log and a metric
//! say so from the first second on, and then they count no more. Jobs need no token, and run on.

use super::hosts::Hosts;
use super::jwt::{Flaw, Jwt};
use super::tokens::{ANYBODY, Role, Tokens};
use crate::options::JwtOptions;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use std::path::Path;
use std::time::Duration;
use taskmanager::tls::{FileProblem, Fresh, Lapse, Peer, Reloads};
use tracing::warn;

/// How long tokens count that are not in the file any more, if nothing can be made of it.
const LAPSE: Duration = Duration::from_secs(60);
/// How tokens are shown.
const SCHEME: &str = "bearer";

/// Lets clients in.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    tokens: Option<Fresh<Tokens>>,
    jwt: Option<Jwt>,
    hosts: Hosts,
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nothing is asked of anybody.
    Anybody,
    /// Somebody with a token of this name.
    Token(String),
    /// Somebody whom a JSON Web Token calls so.
    Jwt(String),
    /// Somebody with a certificate of this name, where no tokens are asked for.
    Certificate(String),
}

impl Caller {
    /// What they are called in the log.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Caller::Anybody => ANYBODY,
            Caller::Token(name) | Caller::Jwt(name) | Caller::Certificate(name) => name,
        }
    }

    /// By what they are known: names of the three kinds are given by different people.
    #[must_use]
    pub fn known_by(&self) -> &'static str {
        match self {
            Caller::Anybody => "nothing",
            Caller::Token(_) => "token",
            Caller::Jwt(_) => "jwt",
            Caller::Certificate(_) => "certificate",
        }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// No token was shown.
    Missing,
    /// It is nobody's token.
    Wrong,
    /// It is a JSON Web Token that does not count.
    Flawed(Flaw),
    /// The holder of the token may not do that.
    TooLow {
        /// Who.
        who: Caller,
        /// What they may do.
        role: Role,
        /// What they would have to be.
        needed: Role,
    },
}

impl Guard {
    /// Asks for the tokens in this file, as it is at the time, or for such JSON Web Tokens, if there are any; and
    /// otherwise to be called by one of these names.
    ///
    /// # Errors
    /// A file cannot be read, or a line is wrong.
    pub fn new(
        tokens: Option<&Path>,
        jwt: Option<&JwtOptions>,
        hosts: Hosts,
    ) -> Result<Guard, FileProblem> {
        let load = |path: &Path| {
            let lapse = Lapse {
                after: LAPSE,
                to: Tokens::default,
            };
            Fresh::load(
                "file of tokens",
                vec![path.to_owned()],
                Some(lapse),
                |files| {
                    let file = &files[0];
                    let text = std::str::from_utf8(file.bytes());
                    let text = text.map_err(|_| file.wrong(&"not UTF-8"))?;
                    let tokens = Tokens::parse(text).map_err(|problem| file.wrong(&problem))?;
                    if tokens.is_empty() {
                        warn!(
                            "nobody may use REST: there is no token; `jobmanager token` makes one"
                        );
                    }
                    Ok(tokens)
                },
            )
        };
        let hosts = match (tokens, jwt) {
            (None, None) => hosts,
            (Some(_), _) | (_, Some(_)) => Hosts::default(),
        };
        Ok(Guard {
            tokens: tokens.map(load).transpose()?,
            jwt: jwt.map(Jwt::new).transpose()?,
            hosts,
        })
    }

    /// How the replacement goes of the file of tokens, and of the keys of JSON Web Tokens.
    pub fn reloads(&self) -> impl Iterator<Item = Reloads> {
        let tokens = self.tokens.as_ref().map(Fresh::reloads);
        let jwt = self.jwt.as_ref().map(Jwt::reloads);
        tokens.into_iter().chain(jwt)
    }

    /// Whether anybody has to show a token.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    /// By which names the server may be called.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Who asks, if they may do what this role may.
    ///
    /// # Errors
    /// They may not.
    pub async fn admit(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        needed: Role,
    ) -> Result<Caller, Denied> {
        if !self.asks_for_tokens() {
            // Whoever has one was let in with it.
            let certificate = peer.and_then(|peer| peer.certificate.as_deref());
            return Ok(match certificate {
                Some(name) => Caller::Certificate(name.to_owned()),
                None => Caller::Anybody,
            });
        }
        let shown = headers.get(AUTHORIZATION);
        let Some(shown) = shown else {
            return match needed {
                Role::Anybody => Ok(Caller::Anybody),
                Role::Viewer | Role::Operator | Role::Admin => Err(Denied::Missing),
            };
        };
        let token = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
        let (_, token) = token.ok_or(Denied::Wrong)?;
        let (who, role) = self.holder(token.trim()).await?;
        match role >= needed {
            true => Ok(who),
            false => Err(Denied::TooLow { who, role, needed }),
        }
    }

    async fn holder(&self, token: &str) -> Result<(Caller, Role), Denied> {
        if let Some(tokens) = &self.tokens
            && let Some((name, role)) = tokens.current().holder(token)
        {
            return Ok((Caller::Token(name.to_owned()), role));
        }
        let parts = token.split('.').take(4).count();
        match &self.jwt {
            Some(jwt) if parts == 3 => {
                let holder = jwt.holder(token).await;
                let (name, role) = holder.map_err(Denied::Flawed)?;
                Ok((Caller::Jwt(name), role))
            }
            Some(_) | None => Err(Denied::Wrong),
        }
    }
}
