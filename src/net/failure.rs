//! Errors of connections: each names the server, the cause and the remedy.

use std::any::Any;
use std::time::Duration;
use std::{fmt, io};

use super::reader::LONG_REPLY;
use crate::error::{Error, ErrorKind};
use crate::util::shown::shown;

/// The advice for a port without TLS.
const PLAIN_PORT: &str =
    "that port does not speak TLS: is the scheme right (rediss:// and memcacheds:// are for TLS ports)?";

/// Returns the error of a failed attempt to connect.
#[cold]
pub fn connecting(server: &str, error: &io::Error) -> Error {
    let inner = error.get_ref();
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_failed(server, tls);
    }
    if let Some(no_tls) = inner.and_then(|inner| inner.downcast_ref::<NoTls>()) {
        return Error::new(ErrorKind::Tls, format!("{server}: TLS handshake failed: {no_tls}"));
    }
    if is_out_of_descriptors(error) {
        return out_of_descriptors(server, error);
    }
    let remedy = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: is the server running, and are host and port right?"
        }
        io::ErrorKind::TimedOut => {
            "no connection in time (socket_connect_timeout): check host, port, firewall and network, and whether the port expects TLS"
        }
        io::ErrorKind::NotFound => "there is no such socket file: is the server running?",
        io::ErrorKind::PermissionDenied => "this user may not open the socket: check its permissions",
        _ => "check host, port and network",
    };
    Error::new(ErrorKind::Connect, format!("{server}: cannot connect: {error}; {remedy}"))
}

/// The reason why a handshake failed with a server that did not recognise it.
#[derive(Debug)]
pub enum NoTls {
    /// It answers without TLS.
    PlainText,
    /// It ended the connection.
    HungUp(io::ErrorKind),
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainText => write!(f, "the server answers in plain text; {PLAIN_PORT}"),
            Self::HungUp(how) => write!(f, "the server closed the connection ({how}); {PLAIN_PORT}"),
        }
    }
}

impl std::error::Error for NoTls {}

impl From<NoTls> for io::Error {
    fn from(no_tls: NoTls) -> Self {
        Self::other(no_tls)
    }
}

/// Returns whether this process, or the system, is out of file descriptors.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(code)))
}

#[cold]
fn out_of_descriptors(server: &str, error: &io::Error) -> Error {
    let text = format!(
        "{server}: cannot connect: {error}: this process has no file descriptor left for a connection; release some, or raise its limit (ulimit -n)"
    );
    Error::new(ErrorKind::Busy, text)
}

/// Returns the error of a server that answered a plain-text request with a record of TLS.
#[cold]
pub fn speaks_tls(server: &str) -> Error {
    let text = format!("{server}: that port speaks TLS: use the scheme for TLS (rediss://, memcacheds://)");
    Error::new(ErrorKind::Tls, text)
}

/// Returns the error of a failed handshake of TLS, or of a broken session.
#[cold]
pub fn tls_failed(server: &str, error: &rustls::Error) -> Error {
    let remedy = match error {
        rustls::Error::InvalidCertificate(reason) => certificate_remedy(reason),
        rustls::Error::AlertReceived(_) => {
            "the server refused: does it require a client certificate (ssl_certfile, ssl_keyfile)?"
        }
        rustls::Error::InvalidMessage(_) => PLAIN_PORT,
        _ => "verify the TLS configuration of both sides",
    };
    // It may repeat what a certificate says.
    let what = shown(error.to_string().as_bytes(), 300);
    Error::new(ErrorKind::Tls, format!("{server}: TLS handshake failed: {what}; {remedy}"))
}

fn certificate_remedy(reason: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Reason;
    match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => "the server's certificate has expired: renew it",
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "the certificate is for another host name: connect by a name of the certificate, give it as ssl_server_name, or set ssl_check_hostname: false"
        }
        Reason::UnknownIssuer => "no trusted CA signed it: set ssl_ca_certs to the server's CA file",
        _ => "check the server's certificate and ssl_ca_certs",
    }
}

/// Returns the error of a connection that was lost.
#[cold]
pub fn lost(server: &str, error: &io::Error) -> Error {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_failed(server, tls);
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => format!("the connection was lost: {error}"),
    };
    Error::new(ErrorKind::Connect, format!("{server}: {what}; the library reconnects automatically"))
}

/// Returns the error of bytes that are not of the protocol.
#[cold]
pub fn protocol_error(server: &str, what: &str) -> Error {
    let text = format!(
        "{server}: the reply does not follow the protocol ({what}): check the port, and for proxies in between; the connection was closed"
    );
    let error = Error::new(ErrorKind::Protocol, text);
    if what.starts_with(LONG_REPLY) { error.of_long_reply() } else { error }
}

/// Returns the error of a server that is silent with requests in flight.
#[cold]
pub fn silent(server: &str, silence: Duration) -> Error {
    let text = format!(
        "{server}: no byte for {silence:?} though requests wait: stopped, overloaded or out of reach; it is connected again"
    );
    Error::new(ErrorKind::Timeout, text)
}

/// Returns the error of a connection that ended, or received bytes, without a request in flight.
#[cold]
pub fn closed_or_unsolicited(server: &str) -> Error {
    Error::new(
        ErrorKind::Connect,
        format!("{server}: the server closed the connection, or sent bytes without a request; it is connected again"),
    )
}

/// Returns the error of a panic while a reply was read: a fault of the library that bytes of the server may trigger.
#[cold]
pub fn panicked(server: &str, payload: Box<dyn Any + Send>) -> Error {
    let panic = Error::panicked("reading a reply", payload);
    Error::new(ErrorKind::Protocol, format!("{server}: {panic}; the connection was closed"))
}

/// Returns the error of a leader that ended before the replies came.
#[cold]
pub fn leader_lost(server: &str) -> Error {
    let text = format!("{server}: reading the replies was interrupted; the library reconnects automatically");
    Error::new(ErrorKind::Protocol, text)
}

/// Returns the error of a request that there is no memory to queue.
#[cold]
pub fn no_memory(server: &str, bytes: usize) -> Error {
    let text =
        format!("{server}: there is no memory for a request of {bytes} bytes; send less at once, or free memory");
    Error::new(ErrorKind::Busy, text)
}

/// Returns the error of a reply that there is no memory to receive or to keep.
#[cold]
pub fn no_memory_for_reply(server: &str) -> Error {
    let text = format!("{server}: there is no memory for a reply; ask for less at once, or free memory");
    Error::new(ErrorKind::Busy, text)
}
