//! The verification of server certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

type Verified = Result<ServerCertVerified, rustls::Error>;
type Signed = Result<HandshakeSignatureValid, rustls::Error>;

/// Accepts certificates that a trusted CA signed, and those that `ssl_ca_certs` lists themselves.
#[derive(Debug)]
pub struct Trusting {
    pub by_chain: Arc<WebPkiServerVerifier>,
    pub roots: Arc<RootCertStore>,
    pub algorithms: WebPkiSupportedAlgorithms,
    /// The certificates of `ssl_ca_certs`.
    pub listed: Vec<CertificateDer<'static>>,
    pub check_hostname: bool,
}

/// `ssl_cert_reqs: none`: encrypts, and accepts any server. The signature over the handshake is not verified either: it
/// would prove only that the server holds the key of a certificate that anyone can make. So certificates work that no
/// verifier reads, such as those of X.509 version 1.
#[derive(Debug)]
pub struct Unverified(pub Arc<CryptoProvider>);

/// Returns the error of webpki for which rustls has no error of its own.
fn detail(reason: &CertificateError) -> Option<&webpki::Error> {
    match reason {
        CertificateError::Other(OtherError(error)) => error.downcast_ref(),
        _ => None,
    }
}

/// Returns whether a certificate was refused because it is of X.509 version 1.
pub fn is_of_version_1(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(reason) = error else { return false };
    matches!(detail(reason), Some(webpki::Error::UnsupportedCertVersion))
}

impl Trusting {
    /// Returns whether the certificate is trusted because `ssl_ca_certs` lists it, although it was refused for an unknown
    /// issuer or as that of an authority. Its dates were checked before either of these errors.
    fn is_listed(&self, certificate: &CertificateDer<'_>, reason: &CertificateError) -> bool {
        let no_chain = match reason {
            CertificateError::UnknownIssuer => true,
            reason => matches!(detail(reason), Some(webpki::Error::CaUsedAsEndEntity)),
        };
        no_chain && self.listed.iter().any(|listed| listed == certificate)
    }

    fn check_name(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Verified {
        if self.check_hostname {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verified {
        match self.by_chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is checked last: any other fault was found before.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_hostname => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(reason)) if self.is_listed(certificate, &reason) => {
                self.check_name(certificate, name)
            }
            Err(error) if is_of_version_1(&error) => {
                version_one::verify(certificate, &self.roots, &self.algorithms, now)?;
                // It has no place for a host name.
                if self.check_hostname {
                    return Err(CertificateError::NotValidForName.into());
                }
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        match self.by_chain.verify_tls12_signature(message, certificate, signed) {
            Err(error) if is_of_version_1(&error) => {
                version_one::verify_tls12(message, certificate, signed, &self.algorithms)?;
                Ok(HandshakeSignatureValid::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signed {
        match self.by_chain.verify_tls13_signature(message, certificate, signed) {
            Err(error) if is_of_version_1(&error) => {
                let key = version_one::key_of(certificate)?;
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            verified => verified,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_chain.supported_verify_schemes()
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

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Signed {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Signed {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Certificates of X.509 version 1, as `openssl x509 -req` makes them without extensions: webpki reads none of them.
///
/// Such a certificate has no host name to compare, and cannot sign another certificate. It is accepted if names are not
/// checked and a trusted CA itself signed it.
mod version_one {
    use rustls::crypto::WebPkiSupportedAlgorithms;
    use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
    use rustls::{CertificateError, DigitallySignedStruct, RootCertStore};
    use x509_cert::der::asn1::AnyRef;
    use x509_cert::der::{Decode, Encode, Tag};
    use x509_cert::spki::SubjectPublicKeyInfoRef;
    use x509_cert::{Certificate, Version};

    type Checked = Result<(), CertificateError>;

    /// Checks the dates, and the signature against the CAs that are trusted.
    pub fn verify(
        certificate: &CertificateDer<'_>,
        roots: &RootCertStore,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Checked {
        let certificate = read(certificate)?;
        check_dates(&certificate, now.as_secs())?;
        let issuer = contents(&certificate.tbs_certificate.issuer)?;
        let mut issuers = roots.roots.iter().filter(|root| *root.subject == *issuer && root.name_constraints.is_none());
        if issuers.any(|root| is_signed_by(&certificate, root, algorithms).unwrap_or(false)) {
            Ok(())
        } else {
            Err(CertificateError::UnknownIssuer)
        }
    }

    /// Checks a signature of TLS 1.2 over the handshake.
    pub fn verify_tls12(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Checked {
        let key = key_of(certificate)?;
        let key = SubjectPublicKeyInfoRef::from_der(key.as_ref()).map_err(unreadable)?;
        let (kind, bits) = (contents(&key.algorithm)?, key.subject_public_key.raw_bytes());
        let schemes = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let mut fitting =
            schemes.flat_map(|(_, of_scheme)| of_scheme.iter()).filter(|it| *it.public_key_alg_id() == *kind);
        if fitting.any(|algorithm| algorithm.verify_signature(bits, message, signed.signature()).is_ok()) {
            Ok(())
        } else {
            Err(CertificateError::BadSignature)
        }
    }

    /// Returns the public key of a certificate.
    pub fn key_of(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
        Ok(read(certificate)?.tbs_certificate.subject_public_key_info.to_der().map_err(unreadable)?.into())
    }

    fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
        let read = Certificate::from_der(certificate).map_err(unreadable)?;
        let signed = &read.tbs_certificate;
        let is_plain = signed.version == Version::V1
            && signed.extensions.is_none()
            && signed.signature == read.signature_algorithm;
        if is_plain { Ok(read) } else { Err(CertificateError::BadEncoding) }
    }

    fn check_dates(certificate: &Certificate, now: u64) -> Checked {
        let validity = &certificate.tbs_certificate.validity;
        if now < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet);
        }
        if now > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    fn is_signed_by(
        certificate: &Certificate,
        root: &TrustAnchor<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<bool, CertificateError> {
        // A trust anchor keeps its key without the tag in front.
        let key = AnyRef::new(Tag::Sequence, &root.subject_public_key_info)
            .and_then(|key| key.to_der())
            .map_err(unreadable)?;
        let key = SubjectPublicKeyInfoRef::from_der(&key).map_err(unreadable)?;
        let (kind, bits) = (contents(&key.algorithm)?, key.subject_public_key.raw_bytes());
        let how = contents(&certificate.signature_algorithm)?;
        let message = certificate.tbs_certificate.to_der().map_err(unreadable)?;
        let mut fitting =
            algorithms.all.iter().filter(|it| *it.signature_alg_id() == *how && *it.public_key_alg_id() == *kind);
        Ok(fitting
            .any(|algorithm| algorithm.verify_signature(bits, &message, certificate.signature.raw_bytes()).is_ok()))
    }

    /// Returns the DER contents after the tag and the length, as rustls keeps names and algorithms.
    fn contents(value: &impl Encode) -> Result<Vec<u8>, CertificateError> {
        let whole = value.to_der().map_err(unreadable)?;
        Ok(AnyRef::from_der(&whole).map_err(unreadable)?.value().to_vec())
    }

    fn unreadable(_: x509_cert::der::Error) -> CertificateError {
        CertificateError::BadEncoding
    }
}
