//! Converts keys and values, which are any bytes, to text, to JSON and from arguments.

use serde_json::{Map, Value as Json};
pub use yokedcache::util::shown::escaped as shown;
use yokedcache::util::shown::is_printable;

/// Reports whether a terminal shows a text unchanged: it has no control sequences.
pub fn is_plain_text(bytes: &[u8]) -> bool {
    str::from_utf8(bytes)
        .is_ok_and(|text| text.chars().all(|letter| letter == '\n' || letter == '\t' || is_printable(letter)))
}

/// Returns the bytes that [`shown`] wrote; `None` for an unknown escape.
pub fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'\\' { escape(&mut rest)? } else { byte });
    }
    Some(bytes)
}

fn escape(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    match rest.next()? {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'\\' => Some(b'\\'),
        b'x' => Some(digit(rest.next()?)? << 4 | digit(rest.next()?)?),
        _ => None,
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Adds bytes to an object: under their name if they are UTF-8, else under `NAME_base64`.
pub fn put(object: &mut Map<String, Json>, name: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), base64(bytes).into()),
    };
}

/// Returns an object with these bytes only.
pub fn object(name: &str, bytes: &[u8]) -> Map<String, Json> {
    let mut object = Map::new();
    put(&mut object, name, bytes);
    object
}

/// Encodes as RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    bytes.chunks(3).flat_map(base64_group).collect()
}

fn base64_group(group: &[u8]) -> [char; 4] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    [18, 12, 6, 0].map(|shift| (shift, char::from(LETTERS[(bits >> shift & 63) as usize]))).map(|(shift, letter)| {
        // One byte makes two letters, two make three.
        if (18 - shift) / 6 <= group.len() { letter } else { '=' }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_line_and_can_be_read_back() {
        let cases: [(&[u8], &str); 6] = [
            (b"user:1", "user:1"),
            ("grün '\"".as_bytes(), "grün '\""),
            (b"a\\x00b", "a\\\\x00b"),
            (b"\0\n\r\t\x1b[2J\x7f\xff", "\\x00\\n\\r\\t\\x1b[2J\\x7f\\xff"),
            ("right-to-left\u{202e}".as_bytes(), "right-to-left\\xe2\\x80\\xae"),
            (b"", ""),
        ];
        for (bytes, text) in cases {
            assert_eq!(shown(bytes), text);
            assert_eq!(unescaped(text.as_bytes()).as_deref(), Some(bytes));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(shown(&all).as_bytes()), Some(all));
    }

    #[test]
    fn an_unknown_escape_is_refused() {
        for text in ["\\", "\\q", "\\x", "\\x1", "\\xg0", "\\u{41}"] {
            assert_eq!(unescaped(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(b"\xfb\xff\xfe"), "+//+");
    }

    #[test]
    fn json_has_text_or_base64() {
        assert_eq!(Json::Object(object("key", "ü".as_bytes())).to_string(), r#"{"key":"ü"}"#);
        assert_eq!(Json::Object(object("key", b"\xff")).to_string(), r#"{"key_base64":"/w=="}"#);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert!(is_plain_text("two\n\tlines, ü".as_bytes()));
        assert!(!is_plain_text(b"\x1b[2J") && !is_plain_text(b"\xff") && !is_plain_text(b"a\rb"));
    }
}
