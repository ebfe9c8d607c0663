//! The hash table of a server: a walk that begins while the server begins to enlarge the table can stop that server for
//! all its clients, since the two take the server's locks in a different order.

use std::time::Duration;

/// A table is enlarged at the second after which it has so many items for each of its places.
const ITEMS_PER_PLACE: f64 = 1.5;
/// From this share of those items on, the server may begin while a walk begins.
const NEAR: f64 = 0.98;
/// The time that a walk waits for a table that is nearly full. After it the table is full, or fills slowly.
pub const NEARLY_FULL: Duration = Duration::from_millis(300);
/// The time that a walk waits for a full table. The server checks its table once a second: one that was not enlarged
/// within this time never is.
pub const FULL: Duration = Duration::from_millis(2500);
/// The largest table, as the server says it.
const LARGEST: u32 = 32;

/// The state of a server's hash table, from its statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub items: u64,
    /// It has 2 to the power of this many places.
    pub power: u32,
    pub is_expanding: bool,
}

/// The fullness of a hash table, which decides whether a walk may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fullness {
    /// A walk may begin.
    Free,
    /// The server may begin to enlarge the table soon.
    NearlyFull,
    /// The server enlarges the table within a second, unless it never does.
    Full,
    /// The server enlarges the table now.
    Expanding,
}

impl Table {
    /// Reads general statistics; `None` where they do not tell of a table.
    pub fn of(statistics: &[(String, String)]) -> Option<Self> {
        let number = |name| statistics.iter().find(|pair| pair.0 == name).and_then(|pair| pair.1.parse::<u64>().ok());
        let power = u32::try_from(number("hash_power_level")?).ok().filter(|power| *power <= LARGEST)?;
        Some(Self { items: number("curr_items")?, power, is_expanding: number("hash_is_expanding")? != 0 })
    }

    pub fn fullness(&self) -> Fullness {
        #[allow(clippy::cast_precision_loss)] // A share.
        let share = self.items as f64 / ((1u64 << self.power) as f64 * ITEMS_PER_PLACE);
        match share {
            _ if self.is_expanding => Fullness::Expanding,
            _ if self.power == LARGEST => Fullness::Free,
            full if full > 1.0 => Fullness::Full,
            near if near > NEAR => Fullness::NearlyFull,
            _ => Fullness::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_full_at_one_and_a_half_items_a_place() {
        let fullness = |items, power, is_expanding| Table { items, power, is_expanding }.fullness();
        assert_eq!(fullness(0, 16, false), Fullness::Free);
        assert_eq!(fullness(96_000, 16, false), Fullness::Free);
        assert_eq!(fullness(96_500, 16, false), Fullness::NearlyFull);
        assert_eq!(fullness(98_304, 16, false), Fullness::NearlyFull);
        assert_eq!(fullness(98_305, 16, false), Fullness::Full);
        assert_eq!(fullness(98_305, 17, true), Fullness::Expanding);
        assert_eq!(fullness(1 << 40, LARGEST, false), Fullness::Free);
    }

    #[test]
    fn statistics_tell_of_the_table() {
        let pairs = |power: &str| {
            [("hash_power_level", power), ("curr_items", "7"), ("hash_is_expanding", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        assert_eq!(Table::of(&pairs("16")), Some(Table { items: 7, power: 16, is_expanding: true }));
        assert!(["33", "x", ""].iter().all(|power| Table::of(&pairs(power)).is_none()));
        assert_eq!(Table::of(&[]), None);
    }
}
