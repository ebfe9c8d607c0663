//! The TLS configuration: built when its files have changed, used by every connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use std::{fs, io};

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
use crate::util::lock;

/// A TLS configuration with the files that it names. They are read again when a connection is made after they have changed.
#[derive(Clone)]
pub struct Tls(Arc<Files>);

struct Files {
    config: TlsConfig,
    read: Mutex<Read>,
}

/// The configuration as it was read last, with the state of its files.
#[derive(Clone)]
struct Read {
    ready: ReadyTls,
    stamps: Stamps,
}

/// A TLS configuration for a new connection.
#[derive(Clone)]
pub struct ReadyTls {
    pub client: Arc<ClientConfig>,
    /// The name of the server in place of its host.
    pub server_name: Option<ServerName<'static>>,
}

/// The files, and the time at which each was changed last with its length; `None`: it is missing.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Tls {
    /// Builds the configuration, and reads the files that it names.
    pub fn new(config: &TlsConfig) -> Result<Self> {
        let read = Mutex::new(Read::new(config, stamps(config))?);
        Ok(Self(Arc::new(Files { config: config.clone(), read })))
    }

    /// Returns the configuration for a new connection, on a thread that may block. Files that cannot be used, such as a
    /// certificate whose key is not there yet, do not replace what was read before.
    pub async fn ready(&self) -> ReadyTls {
        let files = Arc::clone(&self.0);
        let known = lock(&files.read).ready.clone();
        tokio::task::spawn_blocking(move || files.ready()).await.unwrap_or(known)
    }
}

impl Files {
    fn ready(&self) -> ReadyTls {
        let (now, known) = (stamps(&self.config), lock(&self.read).clone());
        if now == known.stamps {
            return known.ready;
        }
        match Read::new(&self.config, now) {
            Ok(read) => {
                tracing::info!("the changed files of TLS were read");
                lock(&self.read).clone_from(&read);
                read.ready
            }
            Err(error) => {
                tracing::warn!("the changed files of TLS are not used: {error}");
                known.ready
            }
        }
    }
}

impl Read {
    fn new(config: &TlsConfig, stamps: Stamps) -> Result<Self> {
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
        let server_name = config.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|error| refused("ssl_server_name is no host name", error))?;
        Ok(Self { ready: ReadyTls { client: Arc::new(client), server_name }, stamps })
    }
}

fn stamps(config: &TlsConfig) -> Stamps {
    let named = [&config.ca_file, &config.cert_file, &config.key_file].into_iter().flatten().cloned();
    let listed = config.ca_folder.as_ref().and_then(|folder| files(folder).ok()).unwrap_or_default();
    let stamp = |path: PathBuf| {
        let found = fs::metadata(&path).and_then(|found| Ok((found.modified()?, found.len()))).ok();
        (path, found)
    };
    named.chain(listed).map(stamp).collect()
}

/// Returns the files of a folder in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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
    let mut listed =
        config.ca_file.as_ref().map(|file| certificates(file, "ssl_ca_certs")).transpose()?.unwrap_or_default();
    if let Some(folder) = &config.ca_folder {
        listed.extend(certificates_of(folder)?);
    }
    let (roots, algorithms) = (Arc::new(roots(config, &listed)?), provider.signature_verification_algorithms);
    let by_chain = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider)
        .build()
        .map_err(|error| refused("no certificate can be verified", error))?;
    Ok(Arc::new(Trusting { by_chain, roots, algorithms, listed, check_hostname: config.check_hostname }))
}

/// Returns the trusted CAs: those of the file and the folder, or else the system's.
fn roots(config: &TlsConfig, listed: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if config.ca_file.is_none() && config.ca_folder.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in listed {
        roots.add(certificate.clone()).map_err(|error| {
            let (option, path) = match (&config.ca_file, &config.ca_folder) {
                (Some(file), None) => ("ssl_ca_certs", file.as_path()),
                (_, folder) => ("ssl_ca_path", folder.as_deref().unwrap_or(Path::new(""))),
            };
            refused_file(option, path, error)
        })?;
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

/// Returns the certificates in the files of a folder.
fn certificates_of(folder: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut all: Vec<CertificateDer<'static>> = Vec::new();
    for file in files(folder).map_err(|error| refused_file("ssl_ca_path", folder, error))? {
        let text = fs::read(&file).map_err(|error| refused_file("ssl_ca_path", &file, error))?;
        let found = CertificateDer::pem_slice_iter(&text).collect::<std::result::Result<Vec<_>, _>>();
        // A list of revoked certificates has another name in its PEM, and a file that is no text has none.
        for certificate in found.map_err(|error| refused_file("ssl_ca_path", &file, error))? {
            if !all.contains(&certificate) {
                all.push(certificate);
            }
        }
    }
    if all.is_empty() {
        return Err(refused_file("ssl_ca_path", folder, "no file of it contains a certificate in PEM format"));
    }
    Ok(all)
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
