//! A configuration file's text, read within the length accepted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{MAX_TEXT_BYTES, check_length, refused, wording};
use crate::error::Result;

/// The file's text; one byte over the length accepted is enough to tell that it is too long.
pub(super) fn read(path: &Path) -> Result<String> {
    let bytes = read_bytes(path).map_err(|error| refused(format!("cannot read the file: {error}")))?;
    check_length(bytes.len())?;
    String::from_utf8(bytes)
        .map_err(|error| refused(format!("not UTF-8 text at byte {}", error.utf8_error().valid_up_to())))
}

/// The path for messages; somebody may have given a URL, password and all, where a path belongs.
pub(super) fn shown(path: &Path) -> String {
    wording::without_address(&path.display().to_string())
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
