//! Names that take several commands each: every reply counts, in whichever order they come.

use crate::error::Result;

/// The state of names that take several commands each: the name of each command, and for each name the number of
/// replies that are still to come and the combined outcome of those that were received.
pub struct Parts {
    name_of: Vec<usize>,
    names: Vec<(usize, Result<bool>)>,
}

impl Parts {
    /// Commands, each of which is a part of the name in its place.
    pub fn new(name_of: Vec<usize>) -> Self {
        let mut parts = Self { name_of: Vec::new(), names: Vec::new() };
        name_of.into_iter().for_each(|name| parts.push(name));
        parts
    }

    /// The commands up to this number are parts of a name too.
    pub fn extend(&mut self, commands: usize, name: usize) {
        while self.name_of.len() < commands {
            self.push(name);
        }
    }

    fn push(&mut self, name: usize) {
        self.name_of.push(name);
        while self.names.len() <= name {
            self.names.push((0, Ok(true)));
        }
        self.names[name].0 += 1;
    }

    /// Counts the reply to one command. With the last of a name: the name, and whether all replies say yes, or the
    /// first that failed.
    pub fn add(&mut self, command: usize, reply: Result<bool>) -> Option<(usize, Result<bool>)> {
        let name = self.name_of[command];
        let (left, all) = &mut self.names[name];
        match (&*all, reply) {
            (Ok(so_far), Ok(yes)) => *all = Ok(*so_far && yes),
            (Ok(_), failed) => *all = failed,
            (Err(_), _) => {}
        }
        *left -= 1;
        (*left == 0).then(|| (name, all.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn a_name_is_done_when_all_of_its_parts_are() {
        let mut parts = Parts::new(vec![0, 1]);
        parts.extend(4, 0);
        assert!(parts.add(2, Ok(true)).is_none());
        assert!(!parts.add(1, Ok(false)).unwrap().1.unwrap());
        assert!(parts.add(3, Err(Error::new(ErrorKind::Server, "refused"))).is_none());
        let (name, all) = parts.add(0, Ok(true)).unwrap();
        assert_eq!((name, all.unwrap_err().kind()), (0, ErrorKind::Server));
    }
}
