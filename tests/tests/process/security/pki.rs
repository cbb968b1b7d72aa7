//! Authorities, and the files of those whose certificates they sign.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Somebody who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    signed: AtomicU64,
}

/// The files of somebody with a certificate.
pub(crate) struct Member {
    /// Of the certificate.
    pub(crate) number: u64,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authorities: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority {
            issuer,
            certificate,
            signed: AtomicU64::new(0),
        }
    }

    /// Writes the files of somebody of these names into a folder, over those that are there.
    pub(crate) fn member(&self, folder: &Path, names: &[&str]) -> Member {
        self.member_until(2_100, folder, names)
    }

    /// The same with a certificate that is valid until this year ends.
    pub(crate) fn member_until(&self, year: i32, folder: &Path, names: &[&str]) -> Member {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(number));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Member {
            number,
            certificate: write("certificate.pem", &certificate.pem()),
            key: write("key.pem", &key.serialize_pem()),
            authorities: write("ca.pem", &self.certificate),
        }
    }

    /// Writes the list of the certificates of these numbers, as revoked.
    pub(crate) fn revoke(&self, file: &Path, numbers: &[u64]) {
        let then = date_time_ymd(2_020, 1, 1);
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: then,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: then,
            next_update: date_time_ymd(2_100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        std::fs::write(file, list.pem().unwrap()).unwrap();
    }
}

impl Member {
    /// As options of a TaskManager.
    pub(crate) fn options(&self) -> [String; 8] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            "--tls-certificate".to_owned(),
            text(&self.certificate),
            "--tls-key".to_owned(),
            text(&self.key),
            "--tls-ca".to_owned(),
            text(&self.authorities),
            "--cluster-name".to_owned(),
            "flows".to_owned(),
        ]
    }
}
