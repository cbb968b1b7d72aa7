//! Authorities, and what they sign and revoke.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Somebody who signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    signed: AtomicU64,
}

/// What is in a certificate.
pub(super) struct Request<'a> {
    pub(super) names: &'a [&'a str],
    /// The years in which it is valid.
    pub(super) years: (i32, i32),
    /// What it may be used for; for everything if that is not said.
    pub(super) uses: Vec<ExtendedKeyUsagePurpose>,
}

impl<'a> Request<'a> {
    pub(super) fn of(names: &'a [&'a str]) -> Request<'a> {
        Request {
            names,
            years: (2_000, 2_100),
            uses: Vec::new(),
        }
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
            signed: AtomicU64::new(0),
        }
    }

    /// Writes what a member needs; the number of the certificate is how many there were before it.
    pub(super) fn enroll(&self, folder: &Path, request: Request<'_>) -> Credentials {
        let names: Vec<_> = request
            .names
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let mut params = CertificateParams::new(names).unwrap();
        let (from, until) = request.years;
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        params.extended_key_usages = request.uses;
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(number));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Credentials {
            certificate: write("member.pem", &certificate.pem()),
            key: write("member.key", &key.serialize_pem()),
            authorities: write("ca.pem", &self.pem),
            revoked: None,
            cluster: ClusterName::new("blue").unwrap(),
        }
    }

    /// The same in a folder of its own.
    pub(super) fn member(&self, names: &[&str]) -> (TempDir, Credentials) {
        self.member_with(Request::of(names))
    }

    pub(super) fn member_with(&self, request: Request<'_>) -> (TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let credentials = self.enroll(folder.path(), request);
        (folder, credentials)
    }

    /// The list of the certificates of these numbers, as revoked.
    pub(super) fn revoke(&self, numbers: &[u64]) -> String {
        let then = date_time_ymd(2_020, 1, 1);
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: then,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: then,
            next_update: date_time_ymd(2_021, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
