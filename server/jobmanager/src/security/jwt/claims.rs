//! What a token says of who shows it.

use crate::security::Role;
use serde_json::Value;

/// The longest name of somebody. Characters: room for what identity providers and Kubernetes call people and programs.
const MAX_NAME: usize = 350;

/// The claim of this name, or inside of one: `a.b` is `b` in `a`, or itself a name, as of claims that are URLs.
fn find<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(dot, _)| find(claims.get(&path[..dot])?, &path[dot + 1..]))
}

/// The highest of the roles that a claim names: one, several with spaces between them, or a list.
pub(super) fn role(claims: &Value, path: &str, roles: &[(String, Role)]) -> Role {
    let of = |name: &str| {
        let known = roles.iter().find(|(known, _)| known == name);
        known.map(|(_, role)| *role)
    };
    let named: Vec<_> = match find(claims, path) {
        Some(Value::String(text)) => {
            let words = text.split_ascii_whitespace().filter_map(of);
            words.chain(of(text)).collect()
        }
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.filter_map(of).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    };
    named.into_iter().max().unwrap_or(Role::Anybody)
}

/// Who somebody is, if a claim says that in a way that can be logged.
pub(super) fn name<'a>(claims: &'a Value, path: &str) -> Option<&'a str> {
    let name = find(claims, path)?.as_str()?;
    let is_name =
        (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_highest_role_that_is_named_counts() {
        let ours = [
            ("viewer".to_owned(), Role::Viewer),
            ("flink ops".to_owned(), Role::Operator),
            ("root".to_owned(), Role::Admin),
        ];
        for (claim, wanted) in [
            (json!("viewer"), Role::Viewer),
            (json!("x viewer  root"), Role::Admin),
            (json!("flink ops"), Role::Operator),
            (json!(["viewer", "flink ops"]), Role::Operator),
            (json!(["viewer root", 7, null]), Role::Anybody),
            (json!("Viewer"), Role::Anybody),
            (json!(""), Role::Anybody),
            (json!([]), Role::Anybody),
            (json!({"viewer": true}), Role::Anybody),
            (json!(null), Role::Anybody),
        ] {
            let claims = json!({ "roles": claim });
            assert_eq!(role(&claims, "roles", &ours), wanted, "{claims}");
        }
        assert_eq!(role(&json!({}), "roles", &ours), Role::Anybody);
    }

    #[test]
    fn a_claim_may_be_inside_another_one_or_have_dots_in_its_name() {
        let claims = json!({
            "realm_access": {"roles": "nested"},
            "https://example.com/roles": "url",
            "resource_access": {"my.client": {"roles": "both"}},
        });
        for (path, wanted) in [
            ("realm_access.roles", Some("nested")),
            ("https://example.com/roles", Some("url")),
            ("resource_access.my.client.roles", Some("both")),
            ("realm_access", None),
            ("realm_access.roles.x", None),
            ("roles", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(name(&claims, path), wanted, "{path}");
        }
    }

    #[test]
    fn a_name_can_be_logged() {
        for (claim, is_one) in [
            (json!("alice@example.com"), true),
            (json!("x".repeat(350)), true),
            (json!("x".repeat(351)), false),
            (json!("a\nb"), false),
            (json!(""), false),
            (json!(7), false),
        ] {
            let claims = json!({ "sub": claim });
            assert_eq!(name(&claims, "sub").is_some(), is_one, "{claims}");
        }
    }
}
