//! The replies of commands that a server carried out, and what the store takes from them.

use super::protocol::meta;
use crate::backend::remote::Slice;
use crate::error::{Error, ErrorKind, Result};

/// The reply to a command that its server carried out.
pub struct Received {
    pub what: What,
    /// The epoch that it counts with; 0 where there are none.
    pub epoch: u32,
}

impl Received {
    /// Returns the unique number of the version that is stored, if it was asked for and the server has such numbers.
    pub fn version(&self) -> Option<u64> {
        match self.what {
            What::Value { version, .. } if version != 0 => Some(version),
            _ => None,
        }
    }
}

/// The content of a reply.
pub enum What {
    /// The value that is stored; flags and version are 0 unless they were asked for.
    Value {
        bytes: Slice,
        flags: u32,
        version: u64,
    },
    /// The number that is stored now.
    Number(u64),
    Done,
    /// Nothing is stored.
    Missing,
    /// Another version is there, or nothing: it was not stored.
    Changed,
    /// A number was to be counted, and the value is not a number.
    NoNumber,
}

/// Returns the bytes of a reply to a get.
pub fn stored(received: Received) -> Result<Option<Slice>> {
    match received.what {
        What::Value { bytes, .. } => Ok(Some(bytes)),
        What::Missing => Ok(None),
        _ => Err(unexpected()),
    }
}

/// The tag version that a reply is; an epoch makes it another when it changes.
pub fn tag_version(received: &Received) -> Result<Option<u64>> {
    let number = match &received.what {
        What::Number(number) => Some(*number),
        What::Value { bytes, .. } => meta::number(bytes),
        What::Missing | What::NoNumber | What::Changed => None,
        What::Done => return Err(unexpected()),
    };
    Ok(number.map(|number| number.wrapping_add(u64::from(received.epoch).wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}

#[cold]
pub fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the reply does not match the command")
}
