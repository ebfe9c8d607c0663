//! The scripts of this library, and whether a server runs them: conditional operations and counters need them.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::server_error;

/// A script that shows whether the server runs scripts. A handshake sends it.
pub const PROBE: [&[u8]; 3] = [b"EVAL", b"return 1", b"0"];

/// A script. A server keeps it compiled under the SHA-1 of its text, in 40 digits.
pub struct Script {
    pub text: &'static [u8],
    pub sha1: &'static [u8; 40],
}

/// Records that the server refuses scripts, as the last handshake or call has shown.
#[derive(Default)]
pub struct ScriptSupport {
    is_refused: AtomicBool,
    /// True if the server refuses to run a script by its SHA-1.
    needs_text: AtomicBool,
}

impl ScriptSupport {
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Notes that a call was refused.
    pub fn refuse(&self) {
        self.is_refused.store(true, Relaxed);
    }

    /// Returns true if a script has to be sent as text.
    pub fn needs_text(&self) -> bool {
        self.needs_text.load(Relaxed)
    }

    /// Learns from the error of a script that was sent by its SHA-1. Returns true if its text has to be sent: nothing was
    /// executed. A server that restarted, or another one, does not have the script yet.
    pub fn wants_text(&self, error: &str) -> bool {
        if is_refusal_of("evalsha", error) {
            self.needs_text.store(true, Relaxed);
            return true;
        }
        error.contains("NOSCRIPT")
    }

    /// Learns from the reply to a probe: the text of an error, if it is one.
    pub fn learn(&self, error: Option<&[u8]>) {
        self.is_refused.store(error.is_some_and(|text| is_refusal(&String::from_utf8_lossy(text))), Relaxed);
    }
}

/// Returns whether the server refuses the script itself: by its ACL, or because it has no scripts.
pub fn is_refusal(text: &str) -> bool {
    is_refusal_of("eval", text)
}

/// Returns whether the server refuses a command, by its ACL or to all. Before version 7 it quotes names with grave accents.
/// Services that have words of their own for it do not repeat the name.
fn is_refusal_of(command: &str, text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let names_it = ['\'', '`'].iter().any(|quote| lower.contains(&format!("{quote}{command}{quote}")));
    let names_any = lower.contains("unknown command");
    (names_it && text.contains("NOPERM")) || ((names_it || !names_any) && server_error::is_missing_command(text))
}

#[cfg(test)]
mod tests {
    use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

    use super::*;
    use crate::backend::redis::{compare, in_place};

    #[test]
    fn only_a_refused_script_is_unsupported() {
        let refused = |text: &[u8]| is_refusal(server_error::error("cache:6379", text).message());
        assert!(refused(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(refused(b"ERR unknown command 'EVAL', with args beginning with: 'x' "));
        assert!(refused(b"ERR unknown command `eval`, with args beginning with: `x`, "));
        assert!(refused(b"ERR This command is not available") && refused(b"ERR command is not allowed"));
        assert!(!refused(b"ERR unknown command 'SET', with args beginning with: 'x' "));
        assert!(!refused(b"NOPERM this user has no permissions to access one of the keys used as arguments"));
        assert!(!refused(b"OOM command not allowed when used memory > 'maxmemory'."));
        let support = ScriptSupport::default();
        support.learn(Some(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(support.is_refused());
        support.learn(Some(b"BUSY Redis is busy running a script."));
        assert!(!support.is_refused());
    }

    #[test]
    fn every_script_has_the_sha1_of_its_text() {
        for Script { text, sha1 } in compare::SCRIPTS.iter().chain(in_place::SCRIPTS) {
            let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text);
            let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digits.as_bytes(), *sha1, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_script_that_a_server_does_not_have_is_sent_as_text_and_one_that_it_refuses_always() {
        let (support, error) = (ScriptSupport::default(), |text: &[u8]| server_error::error("cache:6379", text));
        let wants = |text: &[u8]| support.wants_text(error(text).message());
        assert!(wants(b"NOSCRIPT No matching script. Please use EVAL.") && !support.needs_text());
        assert!(!wants(b"OOM command not allowed when used memory > 'maxmemory'."));
        assert!(wants(b"NOPERM this user has no permissions to run the 'evalsha' command") && support.needs_text());
        assert!(ScriptSupport::default().wants_text(error(b"ERR unknown command 'EVALSHA', with args").message()));
    }
}
