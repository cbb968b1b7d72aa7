//! The file of those who may use REST: a line for each, with a name, a role and the SHA-256 of a token.
//!
//! Tokens are random, and have as many bits as their hash. So a plain hash is enough: there is nothing to guess.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How many tokens there may be.
const MAX_TOKENS: usize = 1_000;
/// The longest name. Characters.
const MAX_NAME: usize = 100;

/// What the log calls those of whom nothing is asked.
pub(super) const ANYBODY: &str = "anybody";
/// What the log calls those who were not let in, and whom nobody knows.
pub(super) const NOBODY: &str = "nobody";

/// What somebody may do, the least first. Who may do something may do all that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing but to see that a JobManager is here. Everybody has it.
    Anybody,
    /// Look at everything that is shown.
    Viewer,
    /// Run jobs, and end them.
    Operator,
    /// All there is.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Anybody => ANYBODY,
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        match text {
            "viewer" => Ok(Role::Viewer),
            "operator" => Ok(Role::Operator),
            "admin" => Ok(Role::Admin),
            _ => {
                let text = text.escape_debug();
                Err(format!(
                    "`{text}` is not a role: viewer, operator or admin is expected"
                ))
            }
        }
    }
}

type Hash = [u8; SHA256_OUTPUT_LEN];

/// Who may use REST.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(BTreeMap<Hash, Holder>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    name: String,
    role: Role,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// A line is wrong; what is in it is not said, because it may be a token.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens = Tokens::default();
        let mut names = BTreeSet::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |problem: &str| format!("line {line}: {problem}");
            let mut words = text.split_whitespace();
            let (Some(name), Some(role), Some(hash), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong(
                    "a name, a role and the SHA-256 of a token are expected",
                ));
            };
            if !is_name(name) {
                return Err(wrong(&format!(
                    "a name has at most {MAX_NAME} characters, none that cannot be shown, and is not {ANYBODY} or {NOBODY}"
                )));
            }
            let role = role.parse().map_err(|problem: String| wrong(&problem))?;
            let hash = parse_hash(hash).ok_or_else(|| {
                wrong("the SHA-256 of a token has 64 hex digits; `jobmanager token` makes both")
            })?;
            if !names.insert(name) {
                return Err(wrong("the name is there twice; keep one of the two"));
            }
            let name = name.to_owned();
            if tokens.0.insert(hash, Holder { name, role }).is_some() {
                return Err(wrong(
                    "the token is there twice; give everybody one of their own",
                ));
            }
            if tokens.0.len() > MAX_TOKENS {
                return Err(wrong(&format!("more than {MAX_TOKENS} tokens")));
            }
        }
        Ok(tokens)
    }

    /// Whether nobody has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token it is, and what they may do.
    #[must_use]
    pub fn holder(&self, token: &str) -> Option<(&str, Role)> {
        let holder = self.0.get(&hash_of(token))?;
        Some((&holder.name, holder.role))
    }
}

/// Makes a token: the token, and the line of the file that lets its holder in.
///
/// # Errors
/// The name cannot be one, or the system has no randomness.
pub fn mint(name: &str, role: Role) -> Result<(String, String), String> {
    if !is_name(name) || name.starts_with('#') || name.contains(char::is_whitespace) {
        return Err(format!(
            "`{}` cannot be a name: one word of at most {MAX_NAME} characters is expected, not {ANYBODY} or {NOBODY}",
            name.escape_debug()
        ));
    }
    let mut random = [0; SHA256_OUTPUT_LEN];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| "the system has no random numbers".to_owned())?;
    let token = hex(&random);
    let line = format!("{name} {role} {}", hex(&hash_of(&token)));
    Ok((token, line))
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    let is_somebody = ![ANYBODY, NOBODY]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other));
    (1..=MAX_NAME).contains(&length) && !name.contains(char::is_control) && is_somebody
}

fn hash_of(token: &str) -> Hash {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref()
        .try_into()
        .expect("SHA-256 has a fixed length")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hash(text: &str) -> Option<Hash> {
    if text.len() != 2 * SHA256_OUTPUT_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, place) in hash.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The hash of `abc` in the standard.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_token_has_the_name_and_role_of_its_line() {
        let text = format!("# us\n\n alice  operator\t{}\n", ABC.to_uppercase());
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.holder("abc"), Some(("alice", Role::Operator)));
        for other in ["", "ABC", "abc ", ABC] {
            assert_eq!(tokens.holder(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_without_a_line_lets_nobody_in() {
        for text in ["", "\n", "# nobody\n"] {
            let tokens = Tokens::parse(text).unwrap();
            assert!(tokens.is_empty() && tokens.holder("").is_none());
        }
    }

    #[test]
    fn what_was_made_lets_its_holder_in() {
        let (token, line) = mint("bob", Role::Admin).unwrap();
        assert_eq!(
            Tokens::parse(&line).unwrap().holder(&token),
            Some(("bob", Role::Admin))
        );
        assert!(!line.contains(&token));
        assert_ne!(mint("bob", Role::Admin).unwrap().0, token);
        for name in ["", "a b", "#a", "a\nb", "anybody", "Nobody"] {
            assert!(mint(name, Role::Viewer).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let hash = |digit: &str| digit.repeat(64);
        for (text, words) in [
            ("alice\n".to_owned(), "line 1: a name, a role"),
            (
                "\na admin hush\n".to_owned(),
                "line 2: the SHA-256 of a token has 64",
            ),
            (format!("a anybody {ABC}"), "`anybody` is not a role"),
            (format!("anybody admin {ABC}"), "not anybody or nobody"),
            (format!("a admin {ABC} more"), "line 1: a name, a role"),
            (
                format!("a admin {}\na viewer {}", hash("1"), hash("2")),
                "line 2: the name is there twice",
            ),
            (
                format!("a admin {ABC}\nb viewer {ABC}"),
                "line 2: the token is there twice",
            ),
        ] {
            let problem = Tokens::parse(&text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
            assert!(!problem.contains("hush"), "{problem}");
        }
    }
}
