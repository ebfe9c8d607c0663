//! TLS as configured: built once, used by every connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{TlsConfig, Verify};
use crate::error::{Error, ErrorKind, Result};

/// A TLS configuration that is ready to use; its files were read once.
#[derive(Clone)]
pub struct Tls(pub(super) Arc<ClientConfig>);

impl Tls {
    /// Reads the files a configuration names.
    pub fn new(config: &TlsConfig) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("TLS cannot be set up", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(config, provider)?);
        let client = match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert, "ssl_certfile")?, private_key(key)?)
                .map_err(|error| refused("ssl_certfile and ssl_keyfile do not belong together", error))?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(client)))
    }
}

fn verifier(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    if config.verify == Verify::None {
        return Ok(Arc::new(Unverified(provider)));
    }
    let roots = Arc::new(roots(config.ca_file.as_ref())?);
    let strict = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| refused("no certificate can be verified", error))?;
    Ok(if config.check_hostname { strict } else { Arc::new(AnyHostname(strict)) })
}

/// The CAs that are trusted: those of the file, or else the system's.
fn roots(file: Option<&PathBuf>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file, "ssl_ca_certs")? {
                roots.add(certificate).map_err(|error| refused_file("ssl_ca_certs", file, error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let text = "this system has no CA certificates: name the server's CA file in ssl_ca_certs";
        return Err(Error::new(ErrorKind::Tls, text));
    }
    Ok(roots)
}

fn certificates(file: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| refused_file(option, file, error))?;
    if certificates.is_empty() {
        return Err(refused_file(option, file, "it has no certificate in PEM form"));
    }
    Ok(certificates)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| refused_file("ssl_keyfile", file, error))
}

#[cold]
fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Tls, format!("{what}: {why}"))
}

#[cold]
fn refused_file(option: &str, file: &Path, why: impl std::fmt::Display) -> Error {
    refused(&format!("{option}: {} cannot be used", file.display()), why)
}

/// `ssl_check_hostname: false`: any name will do, all else is verified.
#[derive(Debug)]
struct AnyHostname(Arc<WebPkiServerVerifier>);

/// `ssl_cert_reqs: none`: encrypted, and with whoever answers.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

type Verified = std::result::Result<ServerCertVerified, rustls::Error>;
type Signed = std::result::Result<HandshakeSignatureValid, rustls::Error>;

impl ServerCertVerifier for AnyHostname {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verified {
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: whatever else is wrong was found before.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Verified {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
