//! The options that say which JSON Web Tokens let somebody in.

use super::Shell;
use super::table::{
    ALLOW_INSECURE, JWKS, JWT_ADMIN, JWT_AUDIENCE, JWT_CA, JWT_ISSUER, JWT_OPERATOR, JWT_ROLES,
    JWT_USER, JWT_VIEWER,
};
use crate::security::Role;
use axum::http::Uri;
use std::path::PathBuf;
use taskmanager::tls::is_here;

/// Which JSON Web Tokens count, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtOptions {
    /// Where the keys are by which they are signed.
    pub keys: KeyPlace,
    /// Who has to have made them, if that is said.
    pub issuer: Option<String>,
    /// For whom they have to be.
    pub audience: String,
    /// The claim of roles: names with dots between them.
    pub roles_claim: String,
    /// Which name in that claim is which of our roles.
    pub roles: Vec<(String, Role)>,
    /// The claim of who somebody is.
    pub user_claim: String,
}

/// Where a set of keys is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// A file.
    File(PathBuf),
    /// A server.
    Url {
        /// Of http or https.
        url: String,
        /// The file of those who may have signed the server's certificate, in PEM.
        authorities: Option<PathBuf>,
    },
}

impl Shell<'_> {
    pub(super) fn jwt(
        &self,
        allow_insecure: bool,
        problems: &mut Vec<String>,
    ) -> Option<JwtOptions> {
        let named = self.text(JWKS).trim();
        if named.is_empty() {
            let others = [
                JWT_CA,
                JWT_ISSUER,
                JWT_AUDIENCE,
                JWT_ROLES,
                JWT_VIEWER,
                JWT_OPERATOR,
                JWT_ADMIN,
                JWT_USER,
            ];
            self.need(JWKS, &others, problems);
            return None;
        }
        let keys = match named.contains("://") {
            true => self.key_url(named, allow_insecure, problems),
            false => Some(KeyPlace::File(named.into())),
        };
        let said = |key| Some(self.text(key).trim().to_owned()).filter(|text| !text.is_empty());
        let audience = said(JWT_AUDIENCE);
        if audience.is_none() {
            problems.push(format!(
                "{JWT_AUDIENCE}: has to be set for {JWKS}: whoever signs tokens signs them for others, too, and \
                 theirs must not count here; set what the claim `aud` of tokens for this cluster is"
            ));
        }
        let mut claim = |key| {
            let claim = said(key);
            if claim.is_none() {
                problems.push(format!("{key}: has to name a claim"));
            }
            claim.unwrap_or_default()
        };
        let (roles_claim, user_claim) = (claim(JWT_ROLES), claim(JWT_USER));
        Some(JwtOptions {
            keys: keys?,
            issuer: said(JWT_ISSUER),
            audience: audience?,
            roles_claim,
            roles: self.role_names(problems),
            user_claim,
        })
    }

    fn key_url(
        &self,
        url: &str,
        allow_insecure: bool,
        problems: &mut Vec<String>,
    ) -> Option<KeyPlace> {
        let authorities = self.file(JWT_CA);
        let uri: Option<Uri> = url.parse().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        let host = authority.map_or("", |authority| authority.host());
        let has_user = authority.is_some_and(|authority| authority.as_str().contains('@'));
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        let problem = match scheme {
            _ if host.is_empty() || has_user => {
                Some("is not http[s]://HOST[:PORT]/PATH".to_owned())
            }
            Some("https") if authorities.is_none() => Some(format!(
                "needs {JWT_CA}, the file of the authorities that sign its certificate"
            )),
            Some("https") => None,
            Some("http") if allow_insecure || is_here(host) => None,
            Some("http") => Some(format!(
                "would bring keys in the clear, and whoever is on the way could put their own there: use https://, or \
                 say {ALLOW_INSECURE}=true if the network is to be trusted"
            )),
            Some(_) | None => Some("is not http[s]://HOST[:PORT]/PATH".to_owned()),
        };
        if let Some(problem) = problem {
            // It may have a password, where it must not.
            let shown = if has_user { "the URL" } else { url };
            problems.push(format!("{JWKS}: {} {problem}", shown.escape_debug()));
            return None;
        }
        let url = url.to_owned();
        Some(KeyPlace::Url { url, authorities })
    }

    fn role_names(&self, problems: &mut Vec<String>) -> Vec<(String, Role)> {
        let mut roles: Vec<(String, Role)> = Vec::new();
        for (key, role) in [
            (JWT_VIEWER, Role::Viewer),
            (JWT_OPERATOR, Role::Operator),
            (JWT_ADMIN, Role::Admin),
        ] {
            let names = self.text(key).split(',').map(str::trim);
            for name in names.filter(|name| !name.is_empty()) {
                if roles.iter().any(|(other, _)| other == name) {
                    let name = name.escape_debug();
                    problems.push(format!("{key}: `{name}` is there twice, or another role"));
                }
                roles.push((name.to_owned(), role));
            }
        }
        if roles.is_empty() {
            problems.push(format!(
                "{JWT_VIEWER}, {JWT_OPERATOR}, {JWT_ADMIN}: one of them has to name a role for {JWKS}"
            ));
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::{Options, OptionsError};

    fn options_of(define: &[&str]) -> Result<Options, OptionsError> {
        let pair = |text: &&str| {
            let (key, value) = text.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        Options::from_map(define.iter().map(pair).collect())
    }

    #[test]
    fn what_is_wrong_about_tokens_is_said_with_what_to_do() {
        let (file, audience) = ("security.jwt.jwks=keys.json", "security.jwt.audience=flows");
        for (define, words) in [
            (
                &[file][..],
                "security.jwt.audience: has to be set for security.jwt.jwks",
            ),
            (
                &[audience],
                "security.jwt.audience: needs security.jwt.jwks, too",
            ),
            (
                &["security.jwt.admin-role=root"],
                "security.jwt.admin-role: needs security.jwt.jwks, too",
            ),
            (
                &["security.jwt.jwks=https://login.example/keys", audience],
                "https://login.example/keys needs security.jwt.ca",
            ),
            (
                &["security.jwt.jwks=http://login.example/keys", audience],
                "in the clear",
            ),
            (
                &["security.jwt.jwks=ftp://login.example/keys", audience],
                "is not http[s]://HOST",
            ),
            (
                &[
                    "security.jwt.jwks=https://me:hush@login.example/keys",
                    audience,
                ],
                "the URL is not http[s]://HOST",
            ),
            (
                &[file, audience, "security.jwt.roles-claim="],
                "security.jwt.roles-claim: has to name a claim",
            ),
            (
                &[file, audience, "security.jwt.admin-role=a, viewer"],
                "security.jwt.admin-role: `viewer` is there twice",
            ),
            (
                &[
                    file,
                    audience,
                    "security.jwt.viewer-role=",
                    "security.jwt.operator-role=,",
                    "security.jwt.admin-role=",
                ],
                "one of them has to name a role",
            ),
        ] {
            let problem = options_of(define).unwrap_err().to_string();
            assert!(problem.contains(words), "{define:?}: {problem}");
            assert!(problem.contains("1 problem"), "{define:?}: {problem}");
            assert!(!problem.contains("hush"), "{problem}");
        }
    }

    #[test]
    fn keys_come_from_a_file_or_in_a_way_in_which_nobody_changes_them() {
        let insecure = "security.allow-insecure=true";
        for (jwks, more, is_url) in [
            ("keys.json", None, false),
            ("/etc/flows/keys.json", None, false),
            ("http://127.0.0.1:9/keys", None, true),
            ("http://localhost/keys", None, true),
            ("http://login.example/keys", Some(insecure), true),
            (
                "https://login.example/keys",
                Some("security.jwt.ca=ca.pem"),
                true,
            ),
        ] {
            let jwks = format!("security.jwt.jwks={jwks}");
            let define = [&*jwks, "security.jwt.audience=flows"].into_iter();
            let options = options_of(&define.chain(more).collect::<Vec<_>>()).unwrap();
            let jwt = options.security.jwt.unwrap();
            assert_eq!(matches!(jwt.keys, KeyPlace::Url { .. }), is_url, "{jwks}");
            assert_eq!((jwt.roles.len(), &*jwt.user_claim), (3, "sub"));
        }
    }
}
