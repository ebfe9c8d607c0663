//! Checks for memory whose size a caller or a server chose. A lack of memory is an error and does not end the process.

use crate::error::{Error, ErrorKind, Result};

/// Smaller sizes are not checked: if they fail, the next allocation fails too.
const LARGE: usize = 256 * 1024;

/// Fails if there is no memory for a number of bytes. Call it before an allocation that cannot fail: the allocator
/// returns the same block again.
#[inline]
pub fn check(bytes: usize) -> Result<()> {
    if bytes < LARGE || is_there(bytes) { Ok(()) } else { Err(no_memory(bytes)) }
}

/// Returns true if there is memory for a number of bytes now.
pub fn is_there(bytes: usize) -> bool {
    bytes < LARGE || Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

#[cold]
fn no_memory(bytes: usize) -> Error {
    let text = format!("there is no memory for {bytes} bytes that this call needs; pass less at once, or free memory");
    Error::new(ErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_process_can_hold_is_refused() {
        assert!(check(0).is_ok() && check(LARGE).is_ok());
        let refused = check(1 << 62).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(check(usize::MAX).is_err());
    }
}
