//! The TLS configuration: built once, used by every connection.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, InconsistentKeys, RootCertStore};

use super::verifier::{Trusting, Unverified, is_of_version_1};
use crate::config::{TlsConfig, Verify};
use crate::error::{Error, ErrorKind, Result};

/// A TLS configuration that is ready to use; its files were read once.
#[derive(Clone)]
pub struct Tls(pub(super) Arc<ClientConfig>);

impl Tls {
    /// Builds the configuration, and reads the files that it names.
    pub fn new(config: &TlsConfig) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("TLS cannot be set up", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(config, provider)?);
        let client = match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => builder.with_client_cert_resolver(client_certificate(cert, key)?),
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(client)))
    }
}

/// Returns the first message of a TLS client, to probe a server.
pub fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).ok()?.write_tls(&mut hello).ok()?;
    Some(hello)
}

fn verifier(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    if config.verify == Verify::None {
        return Ok(Arc::new(Unverified(provider)));
    }
    let listed =
        config.ca_file.as_ref().map(|file| certificates(file, "ssl_ca_certs")).transpose()?.unwrap_or_default();
    let (roots, algorithms) = (Arc::new(roots(config, &listed)?), provider.signature_verification_algorithms);
    let by_chain = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider)
        .build()
        .map_err(|error| refused("no certificate can be verified", error))?;
    Ok(Arc::new(Trusting { by_chain, roots, algorithms, listed, check_hostname: config.check_hostname }))
}

/// Returns the trusted CAs: those of the file, or else the system's.
fn roots(config: &TlsConfig, listed: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(file) => {
            for certificate in listed {
                roots.add(certificate.clone()).map_err(|error| refused_file("ssl_ca_certs", file, error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let text = "this system has no CA certificates: set ssl_ca_certs to the CA file of the server";
        return Err(Error::new(ErrorKind::Tls, text));
    }
    Ok(roots)
}

fn certificates(file: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| refused_file(option, file, error))?;
    if certificates.is_empty() {
        return Err(refused_file(option, file, "it contains no certificate in PEM format"));
    }
    Ok(certificates)
}

/// Reads the certificate that is presented to servers that ask for one, with its key. That both belong together is
/// checked, except for certificates of X.509 version 1, which rustls cannot read and servers may accept.
fn client_certificate(cert: &Path, key: &Path) -> Result<Arc<SingleCertAndKey>> {
    let key = ring::default_provider()
        .key_provider
        .load_private_key(private_key(key)?)
        .map_err(|error| refused_file("ssl_keyfile", key, error))?;
    let pair = CertifiedKey::new(certificates(cert, "ssl_certfile")?, key);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(refused(
            "ssl_certfile and ssl_keyfile do not belong together",
            "the key does not match the certificate",
        )),
        Err(error) if !is_of_version_1(&error) && !matches!(error, rustls::Error::InconsistentKeys(_)) => {
            Err(refused_file("ssl_certfile", cert, error))
        }
        _ => Ok(Arc::new(SingleCertAndKey::from(pair))),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        if is_encrypted(file) {
            let remedy = "it is encrypted, which is not supported: decrypt it (openssl pkey -in FILE -out FILE) and protect the file by its permissions";
            return refused_file("ssl_keyfile", file, remedy);
        }
        refused_file("ssl_keyfile", file, error)
    })
}

/// Returns whether a PEM file has an encrypted key: `ENCRYPTED PRIVATE KEY`, or a header of the older form.
fn is_encrypted(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|text| memchr::memmem::find(&text, b"ENCRYPTED").is_some())
}

#[cold]
fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Tls, format!("{what}: {why}"))
}

#[cold]
fn refused_file(option: &str, file: &Path, why: impl std::fmt::Display) -> Error {
    refused(&format!("{option}: {} cannot be used", file.display()), why)
}
