//! Prepares foreign text for a message, a log line or a report: only visible letters remain, or the others are escaped.

/// Letters without a width on a screen that Unicode counts as visible.
const BLANK: [char; 5] = ['\u{115F}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{FFA0}'];

/// Returns a text of a server without letters that are invisible or change the text around them: controls, directions
/// of writing, joiners, marks and spaces other than the plain one. The result has a maximum number of letters.
pub fn shown(text: &[u8], most: usize) -> String {
    String::from_utf8_lossy(text).chars().filter(|letter| is_visible(*letter)).take(most).collect()
}

/// Returns true if the standard library prints the letter without an escape.
fn is_visible(letter: char) -> bool {
    let plain = matches!(letter, '"' | '\'' | '\\') || letter.escape_debug().len() == 1;
    plain && !BLANK.contains(&letter)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Returns bytes as one line of text, without ambiguity. Unprintable characters and the backslash are escaped as in
/// the shell's `$'...'`.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|letter| escape(letter, &mut text));
        chunk.invalid().iter().for_each(|byte| escape_byte(*byte, &mut text));
    }
    text
}

fn escape(letter: char, text: &mut String) {
    match letter {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\\' => text.push_str("\\\\"),
        letter if is_printable(letter) => text.push(letter),
        letter => letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape_byte(byte, text)),
    }
}

/// Decides as `Debug` does, except for quotes.
pub fn is_printable(letter: char) -> bool {
    matches!(letter, '\'' | '"') || letter.escape_debug().len() == 1
}

fn escape_byte(byte: u8, text: &mut String) {
    let digits = [byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)]));
    text.extend(['\\', 'x'].into_iter().chain(digits));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_one_line_without_ambiguity() {
        assert_eq!(escaped("p:e:ü 'x' \\\n".as_bytes()), r"p:e:ü 'x' \\\n");
        assert_eq!(escaped(b"\xff\0\x1b"), r"\xff\x00\x1b");
    }

    #[test]
    fn only_visible_letters_are_left() {
        let hidden = [
            0x00, 0x1B, 0x7F, 0x85, 0xA0, 0xAD, 0x34F, 0x61C, 0x115F, 0x180E, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029,
            0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2060, 0x2066, 0x2067, 0x2068, 0x2069, 0x206F, 0x2800, 0x3000,
            0x3164, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFF, 0xE000, 0xE0001, 0xE0041, 0xE0100, 0x10FFFD,
        ];
        for letter in hidden.map(|code| char::from_u32(code).unwrap()) {
            assert_eq!(shown(format!("a{letter}b").as_bytes(), 10), "ab", "U+{:04X}", u32::from(letter));
        }
        let text = "ERR 'it' said \"no\" \\ äöü 漢字 привет ✓ 🚀";
        assert_eq!(shown(text.as_bytes(), 100), text);
        assert_eq!(shown(b"\xffabc\r\n", 3), "\u{FFFD}ab");
    }
}
