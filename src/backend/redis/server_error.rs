//! Error replies of Redis, with their kind and remedy.

use crate::error::{Error, ErrorKind};
use crate::util::shown;

/// The reaction to an error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerError<'a> {
    /// Another server has the slot, for good.
    Moved(&'a str),
    /// Another server has it for this one command.
    Ask(&'a str),
    /// The same again may succeed in a moment.
    Later,
    /// The role of the server has changed, or it is not ready: look it up again.
    Elsewhere,
    /// The name holds no string: bytes that are not ours.
    WrongType,
    /// It will not do it.
    Final,
}

/// States of a server that pass by themselves, or when its operator sees to them. The first five may be over in a
/// moment: a call waits for that, within its deadline. The others last for as long as a script, a replica or a disk
/// takes: a call reports them at once.
const PASSING: [&str; 8] =
    ["LOADING", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "BUSY", "MISCONF", "NOREPLICAS"];

/// Reads an error's first word, which is its code.
pub fn classify(text: &[u8]) -> ServerError<'_> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let mut words = text.split(' ');
    match words.next().unwrap_or_default() {
        "MOVED" => words.nth(1).map_or(ServerError::Final, ServerError::Moved),
        "ASK" => words.nth(1).map_or(ServerError::Final, ServerError::Ask),
        "TRYAGAIN" | "CLUSTERDOWN" => ServerError::Later,
        "LOADING" | "READONLY" | "MASTERDOWN" => ServerError::Elsewhere,
        "WRONGTYPE" => ServerError::WrongType,
        _ => ServerError::Final,
    }
}

/// The error of a reply that is one.
#[cold]
pub fn error(server: &str, text: &[u8]) -> Error {
    let text = shown(text);
    let code = text.split(' ').next().unwrap_or_default();
    let (kind, remedy) = match code {
        "NOAUTH" => (ErrorKind::Auth, "the server requires a password: set password (and username)"),
        "WRONGPASS" => (ErrorKind::Auth, "check username and password"),
        "NOPERM" => (
            ErrorKind::Denied,
            "grant the user the documented permissions (ACL SETUSER), if the service does not refuse the command to all users",
        ),
        "OOM" => (
            ErrorKind::ServerMemory,
            "the server has reached maxmemory: raise it, or allow evictions (maxmemory-policy allkeys-lru)",
        ),
        "LOADING" => (ErrorKind::Server, "the server is loading its data from disk: try again later"),
        "READONLY" => (ErrorKind::Server, "this is a replica: connect to the primary, or through Sentinel or Cluster"),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => {
            (ErrorKind::Server, "the deployment is failing over or incomplete: try again later")
        }
        "NOREPLICAS" => {
            (ErrorKind::Server, "too few replicas are connected for writes (min-replicas-to-write): check the replicas")
        }
        "MISCONF" => (ErrorKind::Server, "the server cannot write to its disk and refuses writes: see its log"),
        "BUSY" => (ErrorKind::Server, "a script is running on the server: wait, or stop it (SCRIPT KILL)"),
        _ if text.contains("max number of clients") => {
            (ErrorKind::Connect, "raise the server's maxclients, or lower pool_size")
        }
        _ if is_missing_command(&text) => (
            ErrorKind::Unsupported,
            "this server, a managed service, or a proxy in front of the server refuses a command that the call needs: update the server, or call without it",
        ),
        _ => (ErrorKind::Server, "see the server's log"),
    };
    let text = if text.is_empty() { "an error without a text" } else { &text };
    let error = Error::new(kind, format!("{server}: {text}; {remedy}"));
    if PASSING.contains(&code) { error.passing() } else { error }
}

/// Returns whether a reply says that the server has no such command, or lets no user run it. Each service has its own words
/// for that.
pub fn is_missing_command(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "unknown command",
        "unknown subcommand",
        "command is not allowed",
        "command not allowed",
        "command is not available",
        "command is not supported",
        "command not supported",
        "command is disabled",
        "unsupported command",
    ];
    let text = text.to_ascii_lowercase();
    // Other codes have other reasons, and scripts have rules of their own.
    let counts = text.contains("err ") && !text.contains("oom ") && !text.contains("from script");
    counts && WORDS.iter().any(|words| text.contains(words))
}

/// Returns the error of a command that the caller chose.
#[cold]
pub fn of_command(server: &str, text: &[u8]) -> Error {
    let known = error(server, text);
    if known.is_retryable() || !matches!(known.kind(), ErrorKind::Server | ErrorKind::Unsupported) {
        return known;
    }
    let text = shown(text);
    let remedy = if known.kind() == ErrorKind::Unsupported {
        "the server does not have this command, or a managed service refuses it: check its name"
    } else {
        "check the command, its arguments, and the type of its key"
    };
    Error::new(ErrorKind::Server, format!("{server}: {text}; {remedy}"))
}

/// A server's own words, without what it repeats of ours: arguments can be values.
fn shown(text: &[u8]) -> String {
    let end = memchr::memmem::find(text, b", with args").unwrap_or(text.len());
    shown::shown(&text[..end], 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_name_their_server() {
        assert_eq!(classify(b"MOVED 3999 127.0.0.1:6381"), ServerError::Moved("127.0.0.1:6381"));
        assert_eq!(classify(b"ASK 3999 :6381"), ServerError::Ask(":6381"));
        assert_eq!(classify(b"MOVED"), ServerError::Final);
        assert_eq!(classify(b"TRYAGAIN Multiple keys request during rehashing of slot"), ServerError::Later);
        assert_eq!(classify(b"\xff\xfe"), ServerError::Final);
    }

    #[test]
    fn a_state_that_passes_is_an_error_that_a_retry_may_help() {
        for code in PASSING {
            let error = error("cache:6379", format!("{code} for now").as_bytes());
            assert!(error.is_retryable() && error.kind() == ErrorKind::Server, "{error}");
        }
        for lasting in ["NOPERM no", "ERR wrong", "WRONGPASS no", "NOAUTH no"] {
            assert!(!error("cache:6379", lasting.as_bytes()).is_retryable(), "{lasting}");
        }
    }

    #[test]
    fn an_error_names_server_and_remedy_and_repeats_no_argument() {
        let kinds = [
            (&b"OOM command not allowed when used memory > 'maxmemory'."[..], ErrorKind::ServerMemory),
            (b"NOPERM this user has no permissions", ErrorKind::Denied),
            (b"WRONGPASS invalid username-password pair", ErrorKind::Auth),
            (b"ERR max number of clients reached", ErrorKind::Connect),
            (b"ERR unknown command 'SCAN', with args beginning with: 'secret' ", ErrorKind::Unsupported),
            (b"ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.", ErrorKind::Unsupported),
            (b"ERR This command is not available", ErrorKind::Unsupported),
            (b"ERR command is not allowed", ErrorKind::Unsupported),
            (b"ERR This Redis command is not allowed from script", ErrorKind::Server),
            (b"ERR other", ErrorKind::Server),
            ("ERR \u{202E}retho\u{2066}\u{200B}".as_bytes(), ErrorKind::Server),
        ];
        for (text, kind) in kinds {
            let error = error("cache:6379", text);
            assert_eq!(error.kind(), kind);
            assert!(error.message().starts_with("cache:6379: ") && !error.message().contains("secret"), "{error}");
            assert!(!error.message().contains(['\u{202E}', '\u{2066}', '\u{200B}']), "{error}");
        }
    }
}
