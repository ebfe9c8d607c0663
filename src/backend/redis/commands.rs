//! Commands to be sent: written one after another, each with the slot that says where it goes.

use super::names::slot;
use super::resp;

/// Whether commands read, and may be sent to a replica, or be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May be read from a replica.
    Read,
    /// Has to go to the primary; doing it again does no harm.
    Repeatable,
    /// Has to go to the primary; done again, it could answer otherwise than the first time.
    Once,
}

/// Commands, each with one reply.
pub struct Commands {
    pub kind: Kind,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    slots: Vec<u16>,
    clustered: bool,
}

impl Commands {
    pub fn new(kind: Kind, clustered: bool) -> Self {
        Self { kind, bytes: Vec::new(), ends: Vec::new(), slots: Vec::new(), clustered }
    }

    /// Adds a command of these parts, about a name.
    pub fn push(&mut self, name: &[u8], parts: &[&[u8]]) {
        resp::command(&mut self.bytes, parts);
        self.ends.push(self.bytes.len());
        if self.clustered {
            self.slots.push(slot(name));
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One of them.
    pub fn command(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// The slot of one; 0 outside a cluster, where nobody asks.
    pub fn slot(&self, index: usize) -> u16 {
        self.slots.get(index).copied().unwrap_or(0)
    }
}
