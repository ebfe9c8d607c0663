//! Cleans foreign text for a message, a log line or a report: only visible letters remain.

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

#[cfg(test)]
mod tests {
    use super::*;

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
