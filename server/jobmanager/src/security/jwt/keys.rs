//! A set of public keys, as an identity provider publishes it (RFC 7517).
//!
//! Invariant: a key verifies only what is signed in a way that keys of its kind are for. So nobody makes a signature of
//! theirs from what is public, as would be done if a public key could be taken for a shared secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The largest set that is read; those in use have a hundredth of it. Bytes.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// The most keys of a set.
const MAX_KEYS: usize = 100;

const OF_RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The keys that can be used.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What a set has for a token.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Its key.
    Key(&'a DecodingKey),
    /// It has the key, and that is not for what the token is signed by.
    WrongAlgorithm,
    /// Nothing.
    Nothing,
    /// The token does not say which key it is of several.
    Unnamed,
}

impl KeySet {
    /// Reads a set. Keys that nobody here can use are left out: a provider has them for others.
    ///
    /// # Errors
    /// It is none, is too large, or has keys and none that can be used.
    pub(super) fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        if bytes.len() > MAX_BYTES {
            return Err(format!("larger than {MAX_BYTES} bytes"));
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|problem| {
            format!("no set of keys in JSON, such as {{\"keys\": […]}}: {problem}")
        })?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys"));
        }
        let is_empty = set.keys.is_empty();
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() && !is_empty {
            return Err(
                "no key is of RSA, of the curves P-256, P-384 or Ed25519, and for signatures"
                    .to_owned(),
            );
        }
        Ok(KeySet(keys))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key by which a token says that it is signed.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let mut named: Vec<_> = self.0.iter().filter(is_named).collect();
        if named.is_empty() {
            return Found::Nothing;
        }
        named.retain(|key| key.algorithms.contains(&algorithm));
        match named[..] {
            [] => Found::WrongAlgorithm,
            [one] => Found::Key(&one.key),
            // Two keys of one name and kind are the provider's mistake; of no name, several may be right.
            [_, ..] => Found::Unnamed,
        }
    }
}

impl Key {
    fn read(value: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_for_signatures = match &jwk.common.public_key_use {
            Some(PublicKeyUse::Signature) | None => true,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
        };
        let operations = jwk.common.key_operations.as_ref();
        let verifies = operations.is_none_or(|them| them.contains(&KeyOperations::Verify));
        let mut algorithms = match is_for_signatures && verifies {
            true => algorithms_of(&jwk.algorithm).to_vec(),
            false => Vec::new(),
        };
        if let Some(said) = jwk.common.key_algorithm {
            let said: Option<Algorithm> = said.to_string().parse().ok();
            algorithms.retain(|algorithm| Some(*algorithm) == said);
        }
        if algorithms.is_empty() {
            return None;
        }
        Some(Key {
            algorithms,
            key: key_of(&jwk)?,
            id: jwk.common.key_id,
        })
    }
}

/// The key, as bytes.
fn key_of(jwk: &Jwk) -> Option<DecodingKey> {
    let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else {
        return DecodingKey::from_jwk(jwk).ok();
    };
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        // Positive, and without zeros that do not count, which some publish.
        let start = bytes.iter().position(|byte| *byte != 0)?;
        let sign = (bytes[start] >= 0x80).then_some(0);
        let digits = bytes[start..].iter().copied();
        Some(der(INTEGER, sign.into_iter().chain(digits).collect()))
    };
    let key = der(SEQUENCE, [number(&rsa.n)?, number(&rsa.e)?].concat());
    Some(DecodingKey::from_rsa_der(&key))
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// A value in DER, as the public key of RSA is written (RFC 8017): what it is, its length, and itself, which is not
/// empty.
fn der(tag: u8, value: Vec<u8>) -> Vec<u8> {
    let length = value.len().to_be_bytes().into_iter();
    let length: Vec<_> = length.skip_while(|byte| *byte == 0).collect();
    // How many bytes there are of a length that does not fit into seven bits.
    let bytes = u8::try_from(length.len()).expect("a number has few bytes");
    let long = (value.len() >= 0x80).then_some(0x80 | bytes);
    let head = [tag].into_iter().chain(long).chain(length);
    head.chain(value).collect()
}

/// What keys of a kind are for. None is for a shared secret.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a library's enums, which will have more kinds of keys"
)]
fn algorithms_of(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => OF_RSA,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of_curve(id: &str, curve: &str) -> Value {
        json!({"kty": "EC", "kid": id, "crv": curve, "x": "AAAA", "y": "AAAA"})
    }

    fn with(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = value.into();
        key
    }

    fn with_list(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = json!([value]);
        key
    }

    fn parse(keys: &[Value]) -> Result<KeySet, String> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_that_are_not_for_signatures_here_are_left_out() {
        let rsa = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
        let set = parse(&[
            of_curve("a", "P-256"),
            rsa.clone(),
            json!({"kty": "OKP", "kid": "e", "crv": "Ed25519", "x": "AAAA"}),
            json!({"kty": "OKP", "kid": "x", "crv": "X25519", "x": "AAAA"}),
            json!({"kty": "oct", "kid": "secret", "k": "AAAA"}),
            json!({"kty": "oct", "kid": "secret", "k": "AAAA", "alg": "HS256"}),
            with(of_curve("enc", "P-256"), "use", "enc"),
            with_list(of_curve("ops", "P-256"), "key_ops", "deriveKey"),
            with_list(of_curve("v", "P-256"), "key_ops", "verify"),
            with(rsa.clone(), "alg", "RSA-OAEP"),
            with(rsa, "alg", "HS256"),
            of_curve("k", "secp256k1"),
            of_curve("p", "P-521"),
            with(of_curve("a", "P-256"), "alg", "ES384"),
            json!("no key"),
        ])
        .unwrap();
        let ids: Vec<_> = set.0.iter().map(|key| key.id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["a", "r", "e", "v"]);
        for (id, algorithm, wanted) in [
            (Some("a"), Algorithm::ES256, "Key"),
            (Some("a"), Algorithm::HS256, "WrongAlgorithm"),
            (Some("r"), Algorithm::PS512, "Key"),
            (Some("r"), Algorithm::HS256, "WrongAlgorithm"),
            (Some("e"), Algorithm::EdDSA, "Key"),
            (Some("secret"), Algorithm::HS256, "Nothing"),
            (None, Algorithm::EdDSA, "Key"),
            (None, Algorithm::HS256, "WrongAlgorithm"),
        ] {
            let found = format!("{:?}", set.find(id, algorithm));
            assert!(found.starts_with(wanted), "{id:?} {algorithm:?}: {found}");
        }
    }

    #[test]
    fn of_several_keys_one_has_to_be_named() {
        let set = parse(&[of_curve("a", "P-256"), of_curve("b", "P-256")]).unwrap();
        let found = set.find(None, Algorithm::ES256);
        assert!(matches!(found, Found::Unnamed), "{found:?}");
        let found = set.find(Some("b"), Algorithm::ES256);
        assert!(matches!(found, Found::Key(_)), "{found:?}");
    }

    #[test]
    fn what_is_no_set_is_refused_and_one_without_keys_is_one() {
        assert_eq!(parse(&[]).unwrap().len(), 0);
        let many = vec![of_curve("a", "P-256"); MAX_KEYS + 1];
        for (text, words) in [
            ("{}".to_owned(), "no set of keys"),
            ("<html>".to_owned(), "no set of keys"),
            (
                json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string(),
                "no key is of",
            ),
            (json!({ "keys": many }).to_string(), "more than 100 keys"),
            (" ".repeat(MAX_BYTES + 1), "larger than"),
        ] {
            let problem = KeySet::parse(text.as_bytes()).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
