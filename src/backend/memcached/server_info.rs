//! The properties of a server: the size of its items, its ability to list names, and the state of its hash table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::command::Command;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that Memcached adds to the name and value of an item: its header (48), the NUL that ends the name, and the CR
/// LF that ends the value.
const ITEM_OVERHEAD: u64 = 51;
/// The version number of an item, unless the server runs without them (-C).
const CAS: u64 = 8;
/// The flags of an item, if they are not 0.
const FLAGS: u64 = 4;

/// The properties of a server, which are read from its settings whenever it is connected to.
#[derive(Default)]
pub struct ServerInfo {
    /// The most bytes of an item; 0 if unknown.
    item_size: AtomicU64,
    /// The bytes that an item has besides its name and value.
    overhead: AtomicU64,
    /// True if its items have no versions (-C).
    without_versions: AtomicBool,
    /// A `ListingSupport`, by its number.
    listing: AtomicU64,
    /// The power of a table that was full and was not enlarged, plus 1; 0 if none is known.
    settled: AtomicU64,
    /// True if each item gets flags when it is sent.
    flagged: bool,
}

/// The ability of a server to list its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingSupport {
    /// The server was not reached yet.
    Unknown,
    Allowed,
    /// Its crawler is off.
    NoCrawler,
    /// It does not dump names.
    NoDump,
    /// It does not report its settings: a proxy, or another product.
    Unreported,
}

const LISTING_SUPPORT: [ListingSupport; 5] = [
    ListingSupport::Unknown,
    ListingSupport::Allowed,
    ListingSupport::NoCrawler,
    ListingSupport::NoDump,
    ListingSupport::Unreported,
];

impl ServerInfo {
    /// Describes a server that was not reached yet; `flagged`: each item gets flags when it is sent.
    pub fn new(flagged: bool) -> Self {
        Self { flagged, ..Self::default() }
    }

    /// Returns whether the server was reached. Its limits are known then, as far as it reports them.
    pub fn are_known(&self) -> bool {
        self.listing() != ListingSupport::Unknown
    }

    /// Learns from the server's settings.
    pub fn learn(&self, settings: &[(String, String)]) {
        let setting = |name: &str| settings.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let without_versions = setting("cas_enabled") == Some("no");
        self.without_versions.store(without_versions, Relaxed);
        self.overhead.store(ITEM_OVERHEAD + if without_versions { 0 } else { CAS }, Relaxed);
        self.item_size.store(setting("item_size_max").and_then(|size| size.parse().ok()).unwrap_or(0), Relaxed);
        let listing = match (setting("lru_crawler"), setting("dump_enabled")) {
            (Some("no"), _) => ListingSupport::NoCrawler,
            (_, Some("no")) => ListingSupport::NoDump,
            (Some(_), _) => ListingSupport::Allowed,
            (None, _) => ListingSupport::Unreported,
        };
        self.note(listing);
    }

    /// Records the outcome of a listing.
    pub fn note(&self, listing: ListingSupport) {
        self.listing.store(listing as u64, Relaxed);
    }

    /// Records that a full table of this power is not enlarged.
    pub fn settle(&self, power: u32) {
        self.settled.store(u64::from(power) + 1, Relaxed);
    }

    /// Returns whether a full table of this power is known not to be enlarged.
    pub fn is_settled(&self, power: u32) -> bool {
        self.settled.load(Relaxed) == u64::from(power) + 1
    }

    /// Returns true unless the server is known to keep no versions of its items.
    pub fn keeps_versions(&self) -> bool {
        !self.without_versions.load(Relaxed)
    }

    /// Returns its ability to list names, as far as it is known.
    pub fn listing(&self) -> ListingSupport {
        usize::try_from(self.listing.load(Relaxed))
            .ok()
            .and_then(|at| LISTING_SUPPORT.get(at).copied())
            .unwrap_or(ListingSupport::Unknown)
    }

    /// Returns how many items of any length fit in so many bytes of a reply; 0 if their length has no known limit.
    pub fn most_in(&self, bytes: usize) -> usize {
        // An item is longer than its line and its value in a reply.
        let items = (bytes as u64).checked_div(self.item_size.load(Relaxed));
        items.map_or(0, |items| usize::try_from(items).unwrap_or(usize::MAX))
    }

    /// Refuses an item that the server would refuse: the server removes the older item then.
    pub fn check_size(&self, server: &str, command: &Command) -> Result<()> {
        match command {
            Command::Set { name, bytes, flags, .. } => self.check_item(server, name.len(), bytes.len(), *flags != 0),
            _ => Ok(()),
        }
    }

    /// Refuses the lengths of a name and its bytes if the server would refuse the item.
    pub fn check_item(&self, server: &str, name: usize, bytes: usize, has_flags: bool) -> Result<()> {
        let most = self.item_size.load(Relaxed);
        let flags = if has_flags || self.flagged { FLAGS } else { 0 };
        let size = name as u64 + bytes as u64 + self.overhead.load(Relaxed) + flags;
        if most == 0 || size <= most { Ok(()) } else { Err(too_large(server, size, most)) }
    }
}

impl ListingSupport {
    /// Returns the reason for which there is no listing.
    pub fn listing_error(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Allowed => None,
            Self::NoCrawler => Some("its LRU crawler is off: start it without no_lru_crawler"),
            Self::NoDump => Some("it does not dump its keys: start it without -X"),
            Self::Unreported => Some("it does not report its settings as memcached does: a proxy does not list names"),
        }
    }
}

#[cold]
fn too_large(server: &str, size: u64, most: u64) -> Error {
    let text = format!(
        "{server}: the item has {size} bytes, and the server accepts {most}: raise its limit (memcached -I), or store a smaller value"
    );
    Error::new(ErrorKind::TooLarge, text)
}

/// The items for each place of a table beyond which the server enlarges it within a second.
const ITEMS_PER_PLACE: f64 = 1.5;
/// The share of those items from which on the server may begin while a walk begins.
const NEAR: f64 = 0.98;
/// The time that a walk waits for a table that is nearly full. After it the table is full, or fills slowly.
pub const NEARLY_FULL_WAIT: Duration = Duration::from_millis(300);
/// The time that a walk waits for a full table. The server checks its table once a second: one that was not enlarged
/// within this time never is.
pub const FULL_WAIT: Duration = Duration::from_millis(2500);
/// The power of the largest table.
const LARGEST: u32 = 32;

/// The state of a server's hash table, from its statistics. A walk that begins while the server begins to enlarge the
/// table can stop that server for all its clients, since the two take the server's locks in a different order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub items: u64,
    /// The table has 2 to the power of this many places.
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
    /// Reads general statistics; `None` if they do not report a table.
    pub fn of(statistics: &[(String, String)]) -> Option<Self> {
        let number = |name| statistics.iter().find(|pair| pair.0 == name).and_then(|pair| pair.1.parse::<u64>().ok());
        let power = u32::try_from(number("hash_power_level")?).ok().filter(|power| *power <= LARGEST)?;
        Some(Self { items: number("curr_items")?, power, is_expanding: number("hash_is_expanding")? != 0 })
    }

    /// Returns the fullness of the table.
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
    use super::super::command::Condition;
    use super::*;

    fn learned(settings: &[(&str, &str)]) -> ServerInfo {
        let info = ServerInfo::default();
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        info.learn(&settings);
        info
    }

    #[test]
    fn settings_report_the_support_of_listings() {
        assert_eq!(ServerInfo::default().listing(), ListingSupport::Unknown);
        assert_eq!(learned(&[("lru_crawler", "yes"), ("dump_enabled", "yes")]).listing(), ListingSupport::Allowed);
        assert_eq!(learned(&[("lru_crawler", "no"), ("dump_enabled", "yes")]).listing(), ListingSupport::NoCrawler);
        assert_eq!(learned(&[("lru_crawler", "yes"), ("dump_enabled", "no")]).listing(), ListingSupport::NoDump);
        assert_eq!(learned(&[]).listing(), ListingSupport::Unreported);
    }

    #[test]
    fn an_item_that_the_server_would_refuse_is_not_sent() {
        static BYTES: [u8; 1 << 20] = [0; 1 << 20];
        let info = learned(&[("item_size_max", "1000"), ("cas_enabled", "yes")]);
        let set = |bytes, flags| Command::Set { name: b"name", bytes, flags, expiry: 0, condition: Condition::Always };
        let most = |info: &ServerInfo, flags| {
            (0..1000).rev().find(|len| info.check_size("s", &set(&BYTES[..*len], flags)).is_ok()).unwrap()
        };
        assert_eq!((most(&info, 0), most(&info, 7)), (937, 933));
        assert_eq!(most(&learned(&[("item_size_max", "1000"), ("cas_enabled", "no")]), 0), 945);
        let flagged = ServerInfo::new(true);
        flagged.learn(&[("item_size_max".into(), "1000".into())]);
        assert_eq!(most(&flagged, 0), 933);
        assert_eq!(info.check_size("s", &set(&BYTES[..938], 0)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(info.check_size("s", &Command::Delete { name: &[0; 2000] }).is_ok());
        assert!(ServerInfo::default().check_size("s", &set(&BYTES, 0)).is_ok());
        assert_eq!((info.most_in(10_500), ServerInfo::default().most_in(10_500)), (10, 0));
    }

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
    fn statistics_report_the_table() {
        let pairs = |power: &str| {
            [("hash_power_level", power), ("curr_items", "7"), ("hash_is_expanding", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        assert_eq!(Table::of(&pairs("16")), Some(Table { items: 7, power: 16, is_expanding: true }));
        assert!(["33", "x", ""].iter().all(|power| Table::of(&pairs(power)).is_none()));
        assert_eq!(Table::of(&[]), None);
    }
}
