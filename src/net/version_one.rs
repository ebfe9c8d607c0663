//! Certificates of X.509 version 1, as `openssl x509 -req` makes them without extensions: webpki reads none of them.
//!
//! Such a certificate names no host that could be compared, and can sign no other: it is accepted where names are not
//! checked, when a trusted CA itself signed it.

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
    let mut fitting = schemes.flat_map(|(_, of_scheme)| of_scheme.iter()).filter(|it| *it.public_key_alg_id() == *kind);
    if fitting.any(|algorithm| algorithm.verify_signature(bits, message, signed.signature()).is_ok()) {
        Ok(())
    } else {
        Err(CertificateError::BadSignature)
    }
}

/// The public key of a certificate.
pub fn key_of(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    Ok(read(certificate)?.tbs_certificate.subject_public_key_info.to_der().map_err(unreadable)?.into())
}

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
    let read = Certificate::from_der(certificate).map_err(unreadable)?;
    let signed = &read.tbs_certificate;
    let is_plain =
        signed.version == Version::V1 && signed.extensions.is_none() && signed.signature == read.signature_algorithm;
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
    let key =
        AnyRef::new(Tag::Sequence, &root.subject_public_key_info).and_then(|key| key.to_der()).map_err(unreadable)?;
    let key = SubjectPublicKeyInfoRef::from_der(&key).map_err(unreadable)?;
    let (kind, bits) = (contents(&key.algorithm)?, key.subject_public_key.raw_bytes());
    let how = contents(&certificate.signature_algorithm)?;
    let message = certificate.tbs_certificate.to_der().map_err(unreadable)?;
    let mut fitting =
        algorithms.all.iter().filter(|it| *it.signature_alg_id() == *how && *it.public_key_alg_id() == *kind);
    Ok(fitting.any(|algorithm| algorithm.verify_signature(bits, &message, certificate.signature.raw_bytes()).is_ok()))
}

/// Returns the DER contents after the tag and the length, as rustls keeps names and algorithms.
fn contents(value: &impl Encode) -> Result<Vec<u8>, CertificateError> {
    let whole = value.to_der().map_err(unreadable)?;
    Ok(AnyRef::from_der(&whole).map_err(unreadable)?.value().to_vec())
}

fn unreadable(_: x509_cert::der::Error) -> CertificateError {
    CertificateError::BadEncoding
}
