//! Keys of RSA, which nobody here can make: one, with what it has signed once. Keys of curves are tested where they are
//! made, with a whole JobManager.

#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;
use std::path::Path;

const MODULUS: &str = "rpTe-vGvrJw_VhjxhLJA0CrV1D1hLRUoJmLe7Y44DDW3NpFDdY0CKmd3_bKONHjoBSCS97EqBKSOUW5xosBkTTB9d1VRI14-n7K5GRJ6a0WooULLlzdg0D0iNYyMNjkMQfioVCndqBT-QU4hwqbjAysYugMJgOQGerzK8fimS1TszXlguiL46M3jB0WKyi9IkKLvGB2w01S1eo8tWSnnMIvMfQhb14JEuAp38YsapxUGCjuLIF8PloZwbWRHq0NTeRlrENkpP60d2Ez_m-6dw2zuyO2xHY-EIOxTO1F07cP2_fk0OVnsVyZIutr2H2nHBPxLYjFa8ZOuCYu-d7hoHw";
/// `alice` for `flows` with the role `admin`, until the year 2100.
const CLAIMS: &str =
    "eyJzdWIiOiJhbGljZSIsImF1ZCI6ImZsb3dzIiwiZXhwIjo0MTAyNDQ0ODAwLCJyb2xlcyI6ImFkbWluIn0";
const RS256: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9",
    "bNm8xFUdwxJ2jUbdtJKANgPOoNUPxwFpVPjMqEvNX1pWfQ84Mh5Jx7x5d1ijFT_R35PLw_i15g50mFtS1KxnRjw_zN6VnWA_H7YFAqbX24fhVWl2K59yidEu5wWjk18PBWx_pfMrWUlfXY24OzwRn3XtCpdFbPKkaDLilIUquqmpXUVFBoBhMcCjZq-iMLzWPPzQEz6JOISW5DpFEqnh4fkeGLsbOY-9j-yOkKktlcu0T5AWvirt9AIGeCBotk7NO8Y7dtx2GLCLwQYX0LFort2_CtaSESplNMaRGWIvYvk6g8Wd3zE3SOvfjFEZGdX2r4ChcaFOMXA1_5X5daupGg",
];
const PS384: [&str; 2] = [
    "eyJhbGciOiJQUzM4NCIsImtpZCI6InJzYSJ9",
    "bWvAtJSPqLpzBykXA_60aaOwZ0uSlg07opQyLg2MP46MNjHdpBMHI8v7ve4AT9gcfAdhR8g6CyLADy8pI_HR1Kytc2oatcNAIBtysfAV-DHHCtUld95hIaVkGqGGYi3R9zvFvohnZSzDAmW6gE01lRcex4p4pxnW8vgDrvK2ziyrtpabx06KUxwgL_RFtUEO35YeaSc-Elaz9U7mZyhKBsTM29UG9666pegFOda6kFMn_pDqSCTyRrMyvYZdgIby1oGcSPanyI3HkuQn4364eHmVBpj-hBBY4G4sR2GN9sPvKv4PdkoxAT1RKqllSO1i0kDLf4Mdjv4--J5PoO6h8Q",
];

/// Lets in who has a token by the key that has this modulus.
fn jwt(folder: &Path, modulus: &str) -> Jwt {
    let file = folder.join("keys.json");
    let set =
        json!({"keys": [{"kty": "RSA", "kid": "rsa", "use": "sig", "n": modulus, "e": "AQAB"}]});
    std::fs::write(&file, set.to_string()).unwrap();
    let options = JwtOptions {
        keys: KeyPlace::File(file),
        issuer: None,
        audience: "flows".to_owned(),
        roles_claim: "roles".to_owned(),
        roles: vec![("admin".to_owned(), Role::Admin)],
        user_claim: "sub".to_owned(),
    };
    Jwt::new(&options).unwrap()
}

#[tokio::test]
async fn what_a_key_of_rsa_has_signed_counts_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let number = URL_SAFE_NO_PAD.decode(MODULUS).unwrap();
    let padded = URL_SAFE_NO_PAD.encode([&[0], &*number].concat());
    let other = URL_SAFE_NO_PAD.encode([&number[..100], &[1], &number[101..]].concat());
    for (modulus, is_its) in [(MODULUS, true), (&padded, true), (&other, false)] {
        let jwt = jwt(folder.path(), modulus);
        for [head, signature] in [RS256, PS384] {
            let token = [head, CLAIMS, signature].join(".");
            let wanted = match is_its {
                true => Ok(("alice".to_owned(), Role::Admin)),
                false => Err(Flaw::Signature),
            };
            assert_eq!(jwt.holder(&token).await, wanted);
        }
        // By the same key, but of something else.
        for [head, signature] in [[RS256[0], PS384[1]], [PS384[0], RS256[1]]] {
            let token = [head, CLAIMS, signature].join(".");
            assert_eq!(jwt.holder(&token).await, Err(Flaw::Signature));
        }
    }
}
