//! What went wrong: a kind for programs and a sentence for people.

use std::any::Any;
use std::fmt;
use std::mem;

/// What an error is, for programs. `ffi::status` gives each its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is not allowed.
    Invalid,
    /// The configuration cannot be used.
    Config,
    /// A key, value or list is larger than the cache takes.
    TooLarge,
    /// The caller's buffer cannot hold the value.
    BufferTooSmall,
    /// This backend or server cannot do it.
    Unsupported,
    /// The header and the library do not belong together.
    AbiMismatch,
    /// The cache was closed.
    Closed,
    /// The cache was opened before a fork, in the parent.
    Forked,
    /// The operation was cancelled before it was done.
    Cancelled,
    /// Too much is in flight.
    Busy,
    /// The server cannot be reached: refused, unknown host, no route.
    Connect,
    /// The server refused the credentials.
    Auth,
    /// The server knows the user and forbids the command.
    Denied,
    /// TLS could not be agreed on.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The server has no memory for it.
    ServerMemory,
    /// What came back is not the server's protocol.
    Protocol,
    /// The server answered with another error.
    Server,
    /// The function panicked: a fault of the library.
    Panic,
}

impl ErrorKind {
    /// Returns whether errors of this kind pass by themselves. Other errors may pass too: see `Error::is_retryable`.
    fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Connect | Self::Timeout | Self::Protocol)
    }

    /// Whether the server failed, and not the caller: it is gone, stuck, or not to be talked to.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Connect | Self::Auth | Self::Tls | Self::Timeout | Self::Protocol)
    }
}

/// A failure. Small on purpose: every operation carries room for one.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// A state of the server that passes by itself, though other errors of this kind do not.
    is_passing: bool,
    /// The reply was longer than one may be: the same request has to be split.
    is_reply_too_long: bool,
    /// The call had less than the time of a call: what went before it in a batch took the rest.
    is_of_short_time: bool,
}

/// The result of every operation here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind; the message says which thing, what happened and what to do.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, message, is_passing: false, is_reply_too_long: false, is_of_short_time: false }))
    }

    /// The same error, of a state that passes by itself: the server loads its data, a failover is under way.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.0.is_passing = true;
        self
    }

    /// The same error, for a reply that was longer than one may be.
    #[must_use]
    pub fn of_long_reply(mut self) -> Self {
        self.0.is_reply_too_long = true;
        self
    }

    /// What a caught panic becomes; `name` is the function that it happened in.
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

    /// The same error, of a call that had less than its time.
    #[must_use]
    pub fn of_short_time(mut self) -> Self {
        self.0.is_of_short_time = true;
        self
    }

    /// What it is, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same call may succeed later with nothing changed by the caller.
    pub fn is_retryable(&self) -> bool {
        self.0.is_passing || self.0.kind.is_retryable()
    }

    /// Returns whether the server failed, and not the caller. A call that had less than its time proves nothing.
    pub fn is_outage(&self) -> bool {
        self.0.kind.is_outage() && !self.0.is_of_short_time
    }

    /// Returns whether the server answered that it is in a state that passes.
    pub fn is_passing(&self) -> bool {
        self.0.is_passing
    }

    /// Returns whether the same request, split, may have replies that are short enough.
    pub fn is_reply_too_long(&self) -> bool {
        self.0.is_reply_too_long
    }

    /// What happened, for people.
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
