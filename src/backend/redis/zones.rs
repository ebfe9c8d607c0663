//! The choice of the server that a read goes to, by the zones that servers report.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::util::lock;

/// The zone of the program, and the servers that are in it.
#[derive(Debug, Default)]
pub struct Zones {
    own: Option<String>,
    /// The names of the servers that have reported this zone.
    near: Mutex<HashSet<Box<str>>>,
}

impl Zones {
    /// Creates the zones of a program; `None`: it has no zone, and all servers are as good.
    pub fn new(own: Option<String>) -> Self {
        Self { own, near: Mutex::default() }
    }

    /// Notes the zone that a server has reported.
    pub fn learn(&self, server: &str, zone: Option<&str>) {
        let Some(own) = &self.own else { return };
        let mut near = lock(&self.near);
        if zone == Some(own) {
            near.insert(server.into());
        } else {
            near.remove(server);
        }
    }

    fn is_near(&self, server: &str) -> bool {
        lock(&self.near).contains(server)
    }

    /// Chooses a server for a read: a replica in the zone, else the primary if it is there, else another replica, else the
    /// primary. Several that are as good take turns.
    pub fn choose<'a, T: Named>(&self, primary: &'a T, replicas: &'a [T], turn: usize) -> &'a T {
        let up = || replicas.iter().filter(|replica| replica.is_up());
        if self.own.is_some() {
            let near = || up().filter(|replica| self.is_near(replica.name()));
            if let Some(replica) = in_turn(near, turn) {
                return replica;
            }
            if primary.is_up() && self.is_near(primary.name()) {
                return primary;
            }
        }
        in_turn(up, turn).unwrap_or(primary)
    }
}

fn in_turn<'a, T, I: Iterator<Item = &'a T>>(servers: impl Fn() -> I, turn: usize) -> Option<&'a T> {
    let count = servers().count();
    if count == 0 { None } else { servers().nth(turn % count) }
}

/// A server that reads may go to.
pub trait Named {
    /// Returns its name.
    fn name(&self) -> &str;
    /// Returns true if it is connected.
    fn is_up(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, bool);

    impl Named for One {
        fn name(&self) -> &str {
            self.0
        }

        fn is_up(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn replicas_take_turns_and_the_primary_is_the_last_resort() {
        let (zones, primary) = (Zones::default(), One("p", true));
        let replicas = [One("a", true), One("b", false), One("c", true)];
        let chosen: Vec<&str> = (0..4).map(|turn| zones.choose(&primary, &replicas, turn).0).collect();
        assert_eq!(chosen, ["a", "c", "a", "c"]);
        assert_eq!(zones.choose(&primary, &[One("a", false)], 7).0, "p");
        assert_eq!(zones.choose(&primary, &[], 7).0, "p");
    }

    #[test]
    fn servers_of_the_own_zone_come_first() {
        let (zones, primary) = (Zones::new(Some("z1".to_owned())), One("p", true));
        let replicas = [One("a", true), One("b", true), One("c", true)];
        for (server, zone) in [("p", "z1"), ("a", "z2"), ("b", "z1"), ("c", "z1")] {
            zones.learn(server, Some(zone));
        }
        let chosen =
            |replicas: &[One]| -> Vec<&str> { (0..2).map(|turn| zones.choose(&primary, replicas, turn).0).collect() };
        assert_eq!(chosen(&replicas), ["b", "c"]);
        assert_eq!(chosen(&[One("a", true), One("b", false), One("c", true)]), ["c", "c"]);
        assert_eq!(chosen(&[One("a", true), One("b", false), One("c", false)]), ["p", "p"]);
        zones.learn("p", None);
        assert_eq!(chosen(&[One("a", true), One("b", false)]), ["a", "a"]);
        // A server may report another zone after a restart.
        zones.learn("b", Some("z2"));
        assert_eq!(chosen(&replicas), ["c", "c"]);
    }
}
