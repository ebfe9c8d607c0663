//! Errors: a kind for programs and a message for people.

use std::any::Any;
use std::fmt;
use std::mem;

/// The kind of an error, for programs. `ffi::error` assigns a number to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is not allowed.
    Invalid,
    /// The configuration is not usable.
    Config,
    /// A key, value or list exceeds the limit of the cache.
    TooLarge,
    /// The buffer of the caller is too small for the value.
    BufferTooSmall,
    /// The backend or server does not support the operation.
    Unsupported,
    /// The header and the library have different versions.
    AbiMismatch,
    /// The cache was closed.
    Closed,
    /// The cache was opened before a fork, in the parent.
    Forked,
    /// The operation was cancelled before it was done.
    Cancelled,
    /// Too many operations are in flight, or a resource of the process is used up.
    Busy,
    /// The server is not reachable: connection refused, unknown host, no route.
    Connect,
    /// The server rejected the credentials.
    Auth,
    /// The server accepted the user but denies the command.
    Denied,
    /// The TLS handshake failed.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The server is out of memory.
    ServerMemory,
    /// The reply violates the protocol of the server.
    Protocol,
    /// The server replied with another error.
    Server,
    /// The function panicked: this is a bug of the library.
    Panic,
}

impl ErrorKind {
    /// Returns true if errors of this kind are temporary. Other errors may be temporary too: see `Error::is_retryable`.
    fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Connect | Self::Timeout | Self::Protocol)
    }

    /// Returns true if the server failed, not the caller: it is down, does not reply, or refuses connections.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Connect | Self::Auth | Self::Tls | Self::Timeout | Self::Protocol)
    }
}

/// An error. It is small, because every result has space for one.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// The state of the server is temporary, although other errors of this kind are not.
    is_passing: bool,
    /// The reply exceeded the maximum: the request has to be split.
    is_reply_too_long: bool,
    /// The request was sent, and its reply was lost.
    is_reply_lost: bool,
    /// The operation may have been done.
    is_in_doubt: bool,
    /// The call had less than the time of a call, because earlier operations of its batch had used the rest.
    is_of_short_time: bool,
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The end of the message of a command whose reply was lost.
const IN_DOUBT: &str = "; the server may have executed the operation";

impl Error {
    /// Creates an error. The message names the object, the cause and the remedy.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            message,
            is_passing: false,
            is_reply_too_long: false,
            is_reply_lost: false,
            is_in_doubt: false,
            is_of_short_time: false,
        }))
    }

    /// Marks the error as temporary: the server loads its data, or a failover is in progress.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.0.is_passing = true;
        self
    }

    /// Marks the error as caused by a reply above the maximum length.
    #[must_use]
    pub fn of_long_reply(mut self) -> Self {
        self.0.is_reply_too_long = true;
        self
    }

    /// Marks the error as that of a command that was sent, and whose reply was lost. If the command must not be repeated,
    /// the message says that the server may have executed it.
    #[must_use]
    pub fn of_lost_reply(mut self, once: bool) -> Self {
        if once && !self.0.is_in_doubt && !self.0.message.ends_with(IN_DOUBT) {
            self.0.message.push_str(IN_DOUBT);
        }
        self.0.is_reply_lost = true;
        self
    }

    /// Converts the error of a lost reply to that of an operation that may have been done, and must not be repeated.
    #[must_use]
    pub fn in_doubt(mut self) -> Self {
        if self.0.is_reply_lost && !self.0.is_in_doubt {
            self.0.kind = ErrorKind::Timeout;
            self.0.is_in_doubt = true;
            self.0.message.push_str(": look at its effect before a retry");
        }
        self
    }

    /// Returns true if the operation may have been done.
    pub fn is_in_doubt(&self) -> bool {
        self.0.is_in_doubt
    }

    /// Converts a caught panic to an error. `name` is the exported function.
    #[cold]
    pub fn panicked(name: &str, payload: Box<dyn Any + Send>) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        // A payload may panic when dropped; leaking it keeps the promise that nothing crosses.
        mem::forget(payload);
        tracing::error!("{name} failed inside the library: {text}");
        let text = format!("{name} failed inside the library ({text}); the cache stays usable, please report this");
        Self::new(ErrorKind::Panic, text)
    }

    /// Marks the error as that of a call that had less than its time.
    #[must_use]
    pub fn of_short_time(mut self) -> Self {
        self.0.is_of_short_time = true;
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns true if the same call may succeed later without a change by the caller. A call in doubt must not be made
    /// twice.
    pub fn is_retryable(&self) -> bool {
        !self.0.is_in_doubt && (self.0.is_passing || self.0.kind.is_retryable())
    }

    /// Returns true if the server failed, not the caller. A call that had less than its time proves nothing.
    pub fn is_outage(&self) -> bool {
        self.0.kind.is_outage() && !self.0.is_of_short_time
    }

    /// Returns true if the server reported a temporary state.
    pub fn is_passing(&self) -> bool {
        self.0.is_passing
    }

    /// Returns true if the parts of a split request may have replies below the maximum length.
    pub fn is_reply_too_long(&self) -> bool {
        self.0.is_reply_too_long
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_doubt_says_so_once() {
        let lost = Error::new(ErrorKind::Connect, "the connection was lost").of_lost_reply(true);
        let once = lost.clone().in_doubt();
        let again = once.clone().of_lost_reply(true).in_doubt().of_lost_reply(true);
        assert_eq!(again.to_string(), once.to_string());
        assert_eq!(once.to_string().matches("may have executed").count(), 1);
        assert!(lost.is_retryable() && !again.is_retryable() && again.kind() == ErrorKind::Timeout);
    }
}
