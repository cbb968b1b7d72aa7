//! JSON Web Tokens (RFC 7519): who shows one was told by an identity provider who they are, and says so here.
//!
//! A token counts if a key of the provider has signed it, by RSA or an elliptic curve; if it is for this cluster, and by
//! the issuer that is asked for; and if its time has begun, and not passed. There is no other way to take one back
//! before its time has passed than to take its key out of the set. Invariant: nothing that a token says counts before
//! its signature does, but for the name of its key and the way in which it is signed.

mod claims;
mod keys;
mod remote;
mod verify;

use super::tokens::Role;
use crate::options::{JwtOptions, KeyPlace};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keys::{Found, KeySet};
use remote::Remote;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use taskmanager::tls::{FileProblem, Fresh, Lapse, Reloads};
use tracing::warn;

/// The longest token. Bytes: those of people who are in very many groups have that.
const MAX_TOKEN: usize = 16 << 10;
/// By how much the clocks of whoever signs tokens and of this machine may differ. Seconds.
const LEEWAY: u64 = 30;
/// How long keys count that are not in the file any more, if nothing can be made of it: as with tokens.
const FILE_LAPSE: Duration = Duration::from_secs(60);
/// What is read, in the log and in metrics.
const WHAT: &str = "set of keys for JSON Web Tokens";

/// Why a token does not count. The words have nothing of the token but the name of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nobody has tokens of that size.
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It has three parts, as these tokens have, and they are not what they should be.
    #[error("the token is damaged: it is none that is known here, and not a JSON Web Token")]
    Damaged,
    /// It is not signed, by a secret, or by what its key is not for.
    #[error(
        "the token is not signed in a way that counts: by its key, and RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
         ES384 or EdDSA"
    )]
    Algorithm,
    /// No keys are known at all.
    #[error(
        "no key is known that could have signed the token: the set of keys cannot be read, or is empty; an admin finds \
         the reason in the log"
    )]
    NoKeys,
    /// The key is not one of those.
    #[error(
        "the token is signed by a key that is not in the set of keys; get a new token from who issues them"
    )]
    UnknownKey,
    /// The key cannot be told.
    #[error("the token does not say by which of several keys it is signed (kid)")]
    UnnamedKey,
    /// It is not by that key.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is over.
    #[error("the token has expired; get a new one")]
    Expired,
    /// It has not begun.
    #[error(
        "the token is not valid yet; wait, or look at the clocks of this machine and of who has issued it"
    )]
    Early,
    /// It is of somebody else.
    #[error("the token is by another issuer than security.jwt.issuer says")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience than security.jwt.audience says")]
    Audience,
    /// It does not say what it has to.
    #[error("the token has no claim `{0}` that could be used")]
    Claim(String),
}

/// Lets in who has a token that counts.
#[derive(Debug, Clone)]
pub(super) struct Jwt {
    keys: Keys,
    reloads: Reloads,
    options: Arc<JwtOptions>,
}

/// Where keys come from.
#[derive(Debug, Clone)]
enum Keys {
    File(Fresh<KeySet>),
    Url(Remote),
}

/// The head of a token.
#[derive(Debug, Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// What has to be understood of it, which is nothing that anybody here would understand.
    crit: Option<Value>,
}

impl Jwt {
    /// Lets in whom these options let in.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn new(options: &JwtOptions) -> Result<Jwt, FileProblem> {
        verify::install();
        let (keys, reloads) = match &options.keys {
            KeyPlace::File(path) => {
                let lapse = Lapse {
                    after: FILE_LAPSE,
                    to: KeySet::default,
                };
                let keys = Fresh::load(WHAT, vec![path.clone()], Some(lapse), |files| {
                    let keys = KeySet::parse(files[0].bytes());
                    let keys = keys.map_err(|problem| files[0].wrong(&problem))?;
                    if keys.len() == 0 {
                        warn!(
                            "nobody may use REST with a JSON Web Token: the set of keys is empty"
                        );
                    }
                    Ok(keys)
                })?;
                let reloads = keys.reloads();
                (Keys::File(keys), reloads)
            }
            KeyPlace::Url { url, authorities } => {
                let reloads = Reloads::of(WHAT);
                let keys = Remote::follow(url, authorities.as_deref(), reloads.clone())?;
                (Keys::Url(keys), reloads)
            }
        };
        Ok(Jwt {
            keys,
            reloads,
            options: Arc::new(options.clone()),
        })
    }

    /// How the replacement of keys goes.
    pub(super) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Who shows this token, and what they may do.
    ///
    /// # Errors
    /// It does not count.
    pub(super) async fn holder(&self, token: &str) -> Result<(String, Role), Flaw> {
        if token.len() > MAX_TOKEN {
            return Err(Flaw::TooLong);
        }
        let head = token.split('.').next().unwrap_or_default();
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| Flaw::Damaged)?;
        let head: Head = serde_json::from_slice(&head).map_err(|_| Flaw::Damaged)?;
        if head.crit.is_some() {
            return Err(Flaw::Damaged);
        }
        // Others are not signed at all, or by what nobody here knows.
        let algorithm: Algorithm = head.alg.parse().map_err(|_| Flaw::Algorithm)?;
        let kid = head.kid.as_deref();
        let (now, later) = match &self.keys {
            Keys::File(keys) => (keys.current(), None),
            Keys::Url(keys) => (keys.current(), Some(keys)),
        };
        let keys = match (now.find(kid, algorithm), later) {
            (Found::Nothing, Some(keys)) => keys.renewed().await,
            (Found::Nothing | Found::Key(_) | Found::WrongAlgorithm | Found::Unnamed, _) => now,
        };
        match keys.find(kid, algorithm) {
            Found::Key(key) => self.judge(token, key, algorithm),
            Found::WrongAlgorithm => Err(Flaw::Algorithm),
            Found::Unnamed => Err(Flaw::UnnamedKey),
            Found::Nothing if keys.len() == 0 => Err(Flaw::NoKeys),
            Found::Nothing => Err(Flaw::UnknownKey),
        }
    }

    fn judge(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<(String, Role), Flaw> {
        let JwtOptions {
            issuer,
            audience,
            roles_claim,
            roles,
            user_claim,
            ..
        } = &*self.options;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[audience]);
        let mut required = vec!["exp", "aud"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let decoded = jsonwebtoken::decode::<BTreeMap<String, Value>>(token, key, &validation);
        let decoded = decoded.map_err(|problem| flaw(problem.kind()))?;
        let claims = Value::Object(decoded.claims.into_iter().collect());
        let name = claims::name(&claims, user_claim);
        let name = name.ok_or_else(|| Flaw::Claim(user_claim.clone()))?;
        Ok((name.to_owned(), claims::role(&claims, roles_claim, roles)))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a library's errors, which will be more"
)]
fn flaw(problem: &ErrorKind) -> Flaw {
    match problem {
        // A key that cannot be used has signed nothing.
        ErrorKind::InvalidSignature | ErrorKind::InvalidKeyFormat => Flaw::Signature,
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::ImmatureSignature => Flaw::Early,
        ErrorKind::InvalidIssuer => Flaw::Issuer,
        ErrorKind::InvalidAudience => Flaw::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            Flaw::Claim(claim.clone())
        }
        _ => Flaw::Damaged,
    }
}

#[cfg(test)]
mod tests;
