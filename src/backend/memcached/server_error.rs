//! Error replies of a server, with their meaning and remedy.

use crate::error::{Error, ErrorKind};
use crate::util::shown;

/// The reason why a server refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerError {
    /// The value is over the limit of an item.
    TooLarge,
    /// No memory is left, and nothing may be evicted.
    Memory,
    /// The stored value is not a number.
    NoNumber,
    /// It asks for credentials, or refuses those it got.
    Credentials,
    /// It has as many connections as it takes.
    Connections,
    /// It cannot do that now.
    Later,
    /// It does not know the command, or took it for malformed.
    Command,
    /// Something else.
    Other,
}

impl ServerError {
    /// Of a line that begins with an error's word.
    pub fn of_line(line: &[u8]) -> Self {
        let is = |word: &[u8]| memchr::memmem::find(line, word).is_some();
        match line.first() {
            _ if is(b"too large") => Self::TooLarge,
            _ if is(b"out of memory") => Self::Memory,
            _ if is(b"non-numeric") => Self::NoNumber,
            _ if is(b"unauthenticated") || is(b"authentication") => Self::Credentials,
            _ if is(b"open connections") => Self::Connections,
            _ if is(b"try again later") => Self::Later,
            Some(b'S') => Self::Other,
            _ => Self::Command,
        }
    }

    /// Of the status of the binary protocol.
    pub fn of_status(status: u16) -> Self {
        match status {
            0x03 => Self::TooLarge,
            0x06 => Self::NoNumber,
            0x08 | 0x20 | 0x21 => Self::Credentials,
            0x82 => Self::Memory,
            0x85 | 0x86 => Self::Later,
            0x04 | 0x81 | 0x83 => Self::Command,
            _ => Self::Other,
        }
    }

    /// Returns true if later replies on the connection may not match their commands, because the server interpreted
    /// bytes of a value as commands.
    pub fn ends_connection(self) -> bool {
        matches!(self, Self::Command | Self::Credentials | Self::Connections)
    }
}

/// Returns the error for the caller.
#[cold]
pub fn error(server: &str, server_error: ServerError, text: &[u8]) -> Error {
    let (kind, remedy) = match server_error {
        ServerError::TooLarge => (
            ErrorKind::TooLarge,
            "the value is over the item size of the server, which removed the previous value: raise the limit (memcached -I), or store a smaller value",
        ),
        ServerError::Memory => (
            ErrorKind::ServerMemory,
            "the server has no room for an entry of this size and nothing of this size that it may evict now, and it removed the previous entry: raise its memory (-m), or start it without -M",
        ),
        ServerError::NoNumber => {
            (ErrorKind::Server, "a value under this key_prefix was not stored by this library: use another key_prefix")
        }
        ServerError::Credentials => (ErrorKind::Auth, "check username and password"),
        ServerError::Connections => {
            (ErrorKind::Connect, "raise the server's limit of connections (-c), or lower pool_size")
        }
        ServerError::Later => (ErrorKind::Server, "the server is busy: try again later"),
        ServerError::Command => (
            ErrorKind::Server,
            "the server, or a proxy in front of it, does not know the command: use memcached 1.6.10 or newer",
        ),
        ServerError::Other => (ErrorKind::Server, "see the server's log"),
    };
    let error = Error::new(kind, format!("{server}: {}; {remedy}", shown(text)));
    if server_error == ServerError::Later { error.passing() } else { error }
}

/// A server's own words, fit for a message.
pub fn shown(text: &[u8]) -> String {
    shown::shown(text, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_names_server_and_remedy() {
        let lines = [
            (&b"SERVER_ERROR object too large for cache"[..], ErrorKind::TooLarge),
            (b"SERVER_ERROR out of memory storing object", ErrorKind::ServerMemory),
            (b"CLIENT_ERROR cannot increment or decrement non-numeric value", ErrorKind::Server),
            (b"CLIENT_ERROR unauthenticated", ErrorKind::Auth),
            (b"CLIENT_ERROR authentication failure", ErrorKind::Auth),
            (b"SERVER_ERROR locked try again later", ErrorKind::Server),
            (b"ERROR Too many open connections", ErrorKind::Connect),
            (b"CLIENT_ERROR bad command line format", ErrorKind::Server),
            (b"ERROR", ErrorKind::Server),
            (b"SERVER_ERROR \xff", ErrorKind::Server),
            ("SERVER_ERROR \u{202E}on\u{2066}".as_bytes(), ErrorKind::Server),
        ];
        for (line, kind) in lines {
            let error = error("cache:11211", ServerError::of_line(line), line);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().starts_with("cache:11211: "), "{error}");
            assert!(!error.message().contains(['\u{202E}', '\u{2066}']), "{error}");
        }
        let locked = ServerError::of_line(b"SERVER_ERROR locked try again later");
        assert!(
            error("cache:11211", locked, b"").is_retryable()
                && !error("cache:11211", ServerError::Other, b"").is_retryable()
        );
        assert_eq!(ServerError::of_status(0x82), ServerError::Memory);
        assert!(ServerError::of_line(b"ERROR").ends_connection() && !ServerError::Memory.ends_connection());
    }
}
