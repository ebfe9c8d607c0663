//! Matches globs as Redis does: `*` `?` `[a-z]` `[^a]` (also `[!a]`) and `\x`, on bytes, case-sensitive.
//!
//! Reference: the `KEYS` command of Redis. As in Redis, a class without its `]` extends to the end of the pattern, `[]`
//! matches nothing, a range may be written backwards, and a single `\` at the end matches itself.

/// A compiled pattern.
pub struct Glob {
    tokens: Vec<Token>,
}

enum Token {
    /// Any sequence of bytes, also an empty one.
    AnyRun,
    /// Any one byte.
    AnyByte,
    /// This byte.
    Byte(u8),
    /// A byte of this set.
    Class(Box<ByteSet>),
}

impl Glob {
    /// Compiles a pattern. Every byte string is a valid pattern.
    pub fn new(mut pattern: &[u8]) -> Self {
        let mut tokens = Vec::new();
        while let Some((token, rest)) = next_token(pattern) {
            pattern = rest;
            let repeated = matches!((&token, tokens.last()), (Token::AnyRun, Some(Token::AnyRun)));
            if !repeated {
                tokens.push(token);
            }
        }
        Self { tokens }
    }

    /// Returns the bytes that every match begins with.
    pub fn literal_prefix(&self) -> Vec<u8> {
        self.tokens.iter().map_while(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None }).collect()
    }

    /// Returns the bytes before the `*` if the pattern is these bytes and a `*`.
    pub fn as_prefix(&self) -> Option<Vec<u8>> {
        let (last, literal) = self.tokens.split_last()?;
        let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
        if let Token::AnyRun = last { literal.iter().map(byte).collect() } else { None }
    }

    /// Returns true if the whole text matches. In the worst case the time is the product of both lengths: the function
    /// backtracks to the last `*` only.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut retry = None;
        while at < text.len() || token < self.tokens.len() {
            if let Some(Token::AnyRun) = self.tokens.get(token) {
                retry = Some((token + 1, at));
                token += 1;
            } else if self.accepts(token, text.get(at)) {
                (token, at) = (token + 1, at + 1);
            } else {
                let Some((after_star, from)) = retry.filter(|(_, from)| *from < text.len()) else { return false };
                retry = Some((after_star, from + 1));
                (token, at) = (after_star, from + 1);
            }
        }
        true
    }

    fn accepts(&self, token: usize, byte: Option<&u8>) -> bool {
        match (self.tokens.get(token), byte) {
            (Some(Token::AnyByte), Some(_)) => true,
            (Some(Token::Byte(wanted)), Some(byte)) => wanted == byte,
            (Some(Token::Class(set)), Some(byte)) => set.contains(*byte),
            _ => false,
        }
    }
}

/// Returns the first token and the rest of the pattern.
fn next_token(pattern: &[u8]) -> Option<(Token, &[u8])> {
    Some(match pattern {
        [] => return None,
        [b'*', rest @ ..] => (Token::AnyRun, rest),
        [b'?', rest @ ..] => (Token::AnyByte, rest),
        [b'[', b'^' | b'!', rest @ ..] => class(rest, true),
        [b'[', rest @ ..] => class(rest, false),
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (Token::Byte(*byte), rest),
    })
}

fn class(mut pattern: &[u8], negated: bool) -> (Token, &[u8]) {
    let mut set = ByteSet::default();
    loop {
        pattern = match pattern {
            [] => break,
            [b']', rest @ ..] => {
                pattern = rest;
                break;
            }
            [b'\\', byte, rest @ ..] => {
                set.insert(*byte, *byte);
                rest
            }
            [first, b'-', last, rest @ ..] => {
                set.insert(*first.min(last), *first.max(last));
                rest
            }
            [byte, rest @ ..] => {
                set.insert(*byte, *byte);
                rest
            }
        };
    }
    set.negated = negated;
    (Token::Class(Box::new(set)), pattern)
}

#[derive(Default)]
struct ByteSet {
    bits: [u128; 2],
    negated: bool,
}

impl ByteSet {
    fn insert(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.bits[usize::from(byte >> 7)] |= 1 << (byte & 127);
        }
    }

    fn contains(&self, byte: u8) -> bool {
        (self.bits[usize::from(byte >> 7)] >> (byte & 127) & 1 == 1) != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_redis_matches_them() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("**b**", "abc", true),
            ("?", "", false),
            ("?", "a", true),
            ("a?c", "abc", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[!e]llo", "hallo", true),
            ("h[!e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("[]", "a", false),
            ("[]a]", "a]", false),
            ("[a-]", "-", false),
            ("[abc", "b", true),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("A", "a", false),
            ("*a*b*c*d", "xaxbxcxd", true),
            ("*a*b*c*d", "xaxbxcx", false),
            ("user:*:profile", "user:42:profile", true),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).matches(text.as_bytes()), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn any_byte_is_data() {
        assert!(Glob::new(b"\xff?\x00").matches(b"\xff\xfe\x00"));
        assert!(Glob::new(b"[\x80-\xff]").matches(b"\x90"));
    }

    #[test]
    fn a_literal_prefix_ends_at_the_first_wildcard() {
        assert_eq!(Glob::new(b"us\\er:[ab]*").literal_prefix(), b"user:");
        assert_eq!(Glob::new(b"*a").literal_prefix(), b"");
    }

    #[test]
    fn many_stars_on_a_long_text_end_in_time() {
        assert!(!Glob::new(&b"*a".repeat(100)).matches(&b"a".repeat(60_000)[..99]));
        assert!(!Glob::new(b"*a*a*a*a*a*a*a*a*a*b").matches(&b"a".repeat(20_000)));
    }
}
