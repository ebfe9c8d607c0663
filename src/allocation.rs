//! Checks for memory whose size a caller or a server chose: a lack of it is an error, and does not end the process.

use crate::error::{Error, ErrorKind, Result};

/// Below this a failure would meet whatever is allocated next as well.
const LARGE: usize = 256 * 1024;

/// Fails where there is no memory for so many bytes. Asked before what cannot fail is allocated; the allocator hands the
/// same block out again.
#[inline]
pub fn check(bytes: usize) -> Result<()> {
    if bytes < LARGE || is_there(bytes) { Ok(()) } else { Err(no_memory(bytes)) }
}

/// Returns whether there is memory for so many bytes now.
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
