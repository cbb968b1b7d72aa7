//! Where the JobManager answers, and what it is shown.

use super::client::{Access, Client, ClientError};
use std::path::PathBuf;
use taskmanager::tls::FileText;
use ureq::http::HeaderValue;

/// A token may be in this variable. It is not an option of the command line, where every user of the machine sees it.
const TOKEN: &str = "JOBMANAGER_TOKEN";

/// Where the JobManager answers, and what it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// The address of the JobManager's REST interface; several with commas, if one of them leads at a time
    #[arg(
        long,
        value_name = "http[s]://HOST:PORT",
        env = "JOBMANAGER",
        default_value = "http://127.0.0.1:8081"
    )]
    jobmanager: String,
    /// The authorities that sign the certificate of an https:// address, in PEM
    #[arg(long, value_name = "FILE", env = "JOBMANAGER_CA")]
    ca: Option<PathBuf>,
    /// The certificate that the JobManager asks for, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "JOBMANAGER_CERTIFICATE",
        requires = "key"
    )]
    certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "JOBMANAGER_KEY",
        requires = "certificate"
    )]
    key: Option<PathBuf>,
    /// The file of the token that the JobManager asks for; the environment variable JOBMANAGER_TOKEN may have it, too
    #[arg(long, value_name = "FILE", env = "JOBMANAGER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Send the token in the clear to another machine
    #[arg(long)]
    allow_insecure: bool,
}

impl Target {
    /// A client of it; no connection is made yet.
    ///
    /// # Errors
    /// An address is none, or a file cannot be used.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        let mut access = Access::default();
        if let Some(ca) = &self.ca {
            access.trust(ca)?;
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            access.identify(certificate, key)?;
        }
        access.token = self.token()?;
        access.allow_insecure = self.allow_insecure;
        Client::new(&self.jobmanager, access)
    }

    fn token(&self) -> Result<Option<HeaderValue>, ClientError> {
        let (text, whence) = match &self.token_file {
            Some(path) => {
                let file = FileText::read(path).map_err(ClientError::Tls)?;
                let text = String::from_utf8_lossy(file.bytes()).into_owned();
                (text, path.display().to_string())
            }
            None => match std::env::var(TOKEN) {
                Ok(text) => (text, TOKEN.to_owned()),
                Err(_) => return Ok(None),
            },
        };
        bearer(&text).map(Some).ok_or(ClientError::Token(whence))
    }
}

/// What is said with a token; nothing if it cannot be one.
fn bearer(text: &str) -> Option<HeaderValue> {
    let token = text.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let said = is_token.then(|| HeaderValue::try_from(format!("Bearer {token}")).ok())?;
    said.map(|mut said| {
        said.set_sensitive(true);
        said
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(
            bearer(" abc\n").as_ref().and_then(|it| it.to_str().ok()),
            Some("Bearer abc")
        );
        for wrong in ["", " \n", "a b", "a\nb", "ä"] {
            assert_eq!(bearer(wrong), None, "{wrong:?}");
        }
        assert!(!format!("{:?}", bearer("hush")).contains("hush"));
    }
}
