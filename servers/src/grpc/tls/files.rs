//! The files of TLS: from what a flag names to what rustls serves by, and one line for each way in
//! which that can fail. It pays with reading every file whole, up to a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, server};

use super::{Flags, SelfSigned};

/// Several times what all the authorities of a browser take.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What every HTTP/2 client says by ALPN that it speaks. rustls refuses who says others alone, as
/// RFC 7301 (3.2) asks for, and serves who says nothing: behind proxies that end ALPN there are such
/// clients, and their first bytes tell as well whether they speak HTTP/2.
const ALPN: &[u8] = b"h2";
/// Whom a certificate for trying out is for.
const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What is wrong with the flags of TLS, or with a file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A certificate is of no use without its key, and the other way round.
    #[error("{flag} needs {missing}: give both, or --tls-self-signed alone for trying out")]
    Alone {
        /// The flag that was given.
        flag: &'static str,
        /// The flag that was not.
        missing: &'static str,
    },
    /// There is one certificate.
    #[error("--tls-self-signed makes its own certificate: leave out --tls-cert and --tls-key")]
    TwoCertificates,
    /// A flag for nothing.
    #[error("{flag} is of no use without {missing}")]
    NoUse {
        /// The flag that was given.
        flag: &'static str,
        /// What was not.
        missing: &'static str,
    },
    /// The file cannot be read.
    #[error("{flag}: cannot read {}: {error}", .path.display())]
    Unreadable {
        /// Whose file it is.
        flag: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What is in it is something else.
    #[error("{flag}: {}: {what}", .path.display())]
    Content {
        /// Whose file it is.
        flag: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The two are not of each other.
    #[error("--tls-key: {} is not the key of the certificate in {}", .key.display(), .cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's.
        cert: PathBuf,
    },
    /// The certificate for trying out cannot be made, or written.
    #[error("--tls-self-signed: {0}")]
    SelfSigned(String),
}

impl Flags {
    /// What no flag can know alone.
    pub(super) fn fit_together(&self) -> Result<(), Wrong> {
        let is_self_signed = self.tls_self_signed == SelfSigned::On;
        let (cert, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        let no_use = |flag, missing| Err(Wrong::NoUse { flag, missing });
        if is_self_signed && (cert || key) {
            Err(Wrong::TwoCertificates)
        } else if cert && !key {
            Err(Wrong::Alone { flag: "--tls-cert", missing: "--tls-key" })
        } else if key && !cert {
            Err(Wrong::Alone { flag: "--tls-key", missing: "--tls-cert" })
        } else if self.tls_client_ca.is_some() && !cert && !is_self_signed {
            no_use("--tls-client-ca", "TLS: give --tls-cert and --tls-key")
        } else if self.tls_self_signed_cert.is_some() && !is_self_signed {
            no_use("--tls-self-signed-cert", "--tls-self-signed")
        } else {
            Ok(())
        }
    }
}

/// What the files make of it.
pub(super) fn read(flags: &Flags) -> Result<ServerConfig, Wrong> {
    let (Some(cert), Some(key)) = (&flags.tls_cert, &flags.tls_key) else {
        return Err(Wrong::Alone { flag: "TLS", missing: "--tls-cert and --tls-key" });
    };
    let chain = certificates("--tls-cert", cert)?;
    let of_key = |what| Wrong::Content { flag: "--tls-key", path: key.clone(), what };
    let pem = content("--tls-key", key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| of_key("no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned()))?;
    let private = provider().key_provider.load_private_key(private);
    let private = private.map_err(|error| of_key(format!("no key for TLS: {error}")))?;
    let certified = CertifiedKey::new(chain, private);
    certified.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            Wrong::Mismatch { key: key.clone(), cert: cert.clone() }
        }
        error => {
            let what = format!("no certificate for TLS: {error}");
            Wrong::Content { flag: "--tls-cert", path: cert.clone(), what }
        }
    })?;
    config(flags, certified)
}

/// A certificate of our own making, and whoever wants to trust it is told where it is.
pub(super) fn self_signed(flags: &Flags) -> Result<ServerConfig, Wrong> {
    let failed = |error: &dyn std::error::Error| Wrong::SelfSigned(error.to_string());
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(LOCALHOST.map(str::to_owned))?;
        params.distinguished_name.push(DnType::CommonName, "quintet, for trials only");
        params.self_signed(&key).map(|cert| (cert, key))
    };
    let (cert, key) = made().map_err(|error: rcgen::Error| failed(&error))?;
    if let Some(path) = &flags.tls_self_signed_cert {
        fs::write(path, cert.pem()).map_err(|error| {
            Wrong::SelfSigned(format!(
                "cannot write the certificate to {}: {error}",
                path.display()
            ))
        })?;
    }
    let private = PrivateKeyDer::try_from(key.serialize_der());
    let private = private.map_err(|error| Wrong::SelfSigned(error.to_owned()))?;
    let chain = vec![cert.der().clone()];
    let certified = CertifiedKey::from_der(chain, private, &provider());
    let config = config(flags, certified.map_err(|error| failed(&error))?)?;
    let whom = LOCALHOST.join(", ");
    tracing::warn!("--tls-self-signed is for trials only: its certificate, for {whom}, is new");
    Ok(config)
}

fn config(flags: &Flags, certified: CertifiedKey) -> Result<ServerConfig, Wrong> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the library has what TLS 1.2 and 1.3 need");
    let builder = match &flags.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(clients(path)?),
    };
    let certified = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let mut config = builder.with_cert_resolver(certified);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Who says which clients are let in.
fn clients(path: &Path) -> Result<Arc<dyn server::danger::ClientCertVerifier>, Wrong> {
    let flag = "--tls-client-ca";
    let wrong = |what| Wrong::Content { flag, path: path.to_owned(), what };
    let mut roots = RootCertStore::empty();
    for authority in certificates(flag, path)? {
        let added = roots.add(authority);
        added.map_err(|error| wrong(format!("no certificate for TLS: {error}")))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
    verifier.map_err(|error: VerifierBuilderError| wrong(error.to_string()))
}

/// The certificates in a file: one at the least.
fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let pem = content(flag, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
        let what = "no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned();
        Wrong::Content { flag, path: path.to_owned(), what }
    })
}

fn content(flag: &'static str, path: &Path) -> Result<Vec<u8>, Wrong> {
    let unreadable = |error| Wrong::Unreadable { flag, path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(Wrong::Content { flag, path: path.to_owned(), what });
    }
    Ok(bytes)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
