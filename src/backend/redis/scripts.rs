//! Shows whether a server runs scripts, which conditional operations need.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// A script that shows whether the server runs scripts. A handshake sends it.
pub const PROBE: [&[u8]; 3] = [b"EVAL", b"return 1", b"0"];

/// Records that the server refuses scripts, as the last handshake or call has shown.
#[derive(Default)]
pub struct ScriptSupport {
    is_refused: AtomicBool,
}

impl ScriptSupport {
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Notes that a call was refused.
    pub fn refuse(&self) {
        self.is_refused.store(true, Relaxed);
    }

    /// Learns from the reply to a probe: the text of an error, if it is one.
    pub fn learn(&self, error: Option<&[u8]>) {
        self.is_refused.store(error.is_some_and(|text| is_refusal(&String::from_utf8_lossy(text))), Relaxed);
    }
}

/// Returns whether the server refuses the script itself: by its ACL, or because it has no scripts.
pub fn is_refusal(text: &str) -> bool {
    let names_it = text.contains("'eval'") || text.contains("'EVAL'");
    names_it && (text.contains("NOPERM") || text.contains("unknown command"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::redis::server_error;

    #[test]
    fn only_a_refused_script_is_unsupported() {
        let refused = |text: &[u8]| is_refusal(server_error::error("cache:6379", text).message());
        assert!(refused(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(refused(b"ERR unknown command 'EVAL', with args beginning with: 'x' "));
        assert!(!refused(b"NOPERM this user has no permissions to access one of the keys used as arguments"));
        assert!(!refused(b"OOM command not allowed when used memory > 'maxmemory'."));
        let support = ScriptSupport::default();
        support.learn(Some(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(support.is_refused());
        support.learn(Some(b"BUSY Redis is busy running a script."));
        assert!(!support.is_refused());
    }
}
