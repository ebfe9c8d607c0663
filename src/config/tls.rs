//! What TLS needs to know. Files are named here and read when a connection is made.

use std::path::PathBuf;

/// The options of TLS, for servers that are reached through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates of the authorities to trust, PEM; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM; given together with its key.
    pub cert_file: Option<PathBuf>,
    /// The key of the client's certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// What is asked of the server's certificate.
    pub verify: Verify,
    /// Whether the certificate has to name the host; nothing is checked with [`Verify::None`].
    pub check_hostname: bool,
}

/// What is asked of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// It has to be there and be trusted.
    Required,
    /// It has to be trusted if there is one. Every TLS server sends one, so this is `Required` in practice.
    Optional,
    /// Nothing: anybody in between may read and change what is sent.
    None,
}
