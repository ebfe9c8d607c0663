//! What is known of a server since it was connected to: the size of its items, whether it lists names.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::command::Command;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that Memcached adds to the name and value of an item: its header (48), the NUL that ends the name, and the CR
/// LF that ends the value.
const ITEM_OVERHEAD: u64 = 51;
/// The version number of an item, unless the server runs without them (-C).
const CAS: u64 = 8;
/// The flags of an item, if they are not 0.
const FLAGS: u64 = 4;

/// A server's traits; read from its settings whenever it is connected to.
#[derive(Default)]
pub struct Traits {
    /// The most bytes of an item; 0: not known.
    item_size: AtomicU64,
    /// The bytes that an item has besides its name and value.
    overhead: AtomicU64,
    /// A `Listing`.
    listing: AtomicU64,
    /// The power of a table that was full and was not enlarged, and 1; 0: none is known.
    settled: AtomicU64,
    /// True if each item gets flags when it is sent.
    flagged: bool,
}

/// Whether a server lists its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It was not reached yet.
    Unknown,
    Allowed,
    /// Its crawler is off.
    NoCrawler,
    /// It does not dump names.
    NoDump,
    /// It does not tell its settings: a proxy, or another product.
    Untold,
}

const LISTINGS: [Listing; 5] =
    [Listing::Unknown, Listing::Allowed, Listing::NoCrawler, Listing::NoDump, Listing::Untold];

impl Traits {
    /// Traits of a server that was not reached yet; `flagged`: each item gets flags when it is sent.
    pub fn new(flagged: bool) -> Self {
        Self { flagged, ..Self::default() }
    }

    /// Returns whether the server was reached. Its limits are known then, as far as it reports them.
    pub fn are_known(&self) -> bool {
        self.listing() != Listing::Unknown
    }

    /// Learns from the server's settings.
    pub fn learn(&self, settings: &[(String, String)]) {
        let setting = |name: &str| settings.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let version = if setting("cas_enabled") == Some("no") { 0 } else { CAS };
        self.overhead.store(ITEM_OVERHEAD + version, Relaxed);
        self.item_size.store(setting("item_size_max").and_then(|size| size.parse().ok()).unwrap_or(0), Relaxed);
        let listing = match (setting("lru_crawler"), setting("dump_enabled")) {
            (Some("no"), _) => Listing::NoCrawler,
            (_, Some("no")) => Listing::NoDump,
            (Some(_), _) => Listing::Allowed,
            (None, _) => Listing::Untold,
        };
        self.note(listing);
    }

    /// What came of trying.
    pub fn note(&self, listing: Listing) {
        self.listing.store(listing as u64, Relaxed);
    }

    /// Notes that a full table of this power is not enlarged.
    pub fn settle(&self, power: u32) {
        self.settled.store(u64::from(power) + 1, Relaxed);
    }

    /// Returns whether a full table of this power is known not to be enlarged.
    pub fn is_settled(&self, power: u32) -> bool {
        self.settled.load(Relaxed) == u64::from(power) + 1
    }

    /// Whether it lists names, as far as is known.
    pub fn listing(&self) -> Listing {
        usize::try_from(self.listing.load(Relaxed))
            .ok()
            .and_then(|at| LISTINGS.get(at).copied())
            .unwrap_or(Listing::Unknown)
    }

    /// Refuses an item that the server would refuse: the server removes the older item then.
    pub fn check_size(&self, server: &str, command: &Command) -> Result<()> {
        match command {
            Command::Set { name, bytes, flags, .. } => self.check_item(server, name.len(), bytes.len(), *flags != 0),
            _ => Ok(()),
        }
    }

    /// The same, of the lengths of a name and its bytes.
    pub fn check_item(&self, server: &str, name: usize, bytes: usize, has_flags: bool) -> Result<()> {
        let most = self.item_size.load(Relaxed);
        let flags = if has_flags || self.flagged { FLAGS } else { 0 };
        let size = name as u64 + bytes as u64 + self.overhead.load(Relaxed) + flags;
        if most == 0 || size <= most { Ok(()) } else { Err(too_large(server, size, most)) }
    }
}

impl Listing {
    /// Why there is no listing, if so.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Allowed => None,
            Self::NoCrawler => Some("its LRU crawler is off: start it without no_lru_crawler"),
            Self::NoDump => Some("it does not dump its names: start it without -X"),
            Self::Untold => Some("it is no memcached that tells its settings: a proxy does not list names"),
        }
    }
}

#[cold]
fn too_large(server: &str, size: u64, most: u64) -> Error {
    let text = format!(
        "{server}: an item of {size} bytes, and the server takes {most}: raise its limit (memcached -I), or store less"
    );
    Error::new(ErrorKind::TooLarge, text)
}

#[cfg(test)]
mod tests {
    use super::super::command::Condition;
    use super::*;

    fn learned(settings: &[(&str, &str)]) -> Traits {
        let traits = Traits::default();
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        traits.learn(&settings);
        traits
    }

    #[test]
    fn what_settings_say_of_listing() {
        assert_eq!(Traits::default().listing(), Listing::Unknown);
        assert_eq!(learned(&[("lru_crawler", "yes"), ("dump_enabled", "yes")]).listing(), Listing::Allowed);
        assert_eq!(learned(&[("lru_crawler", "no"), ("dump_enabled", "yes")]).listing(), Listing::NoCrawler);
        assert_eq!(learned(&[("lru_crawler", "yes"), ("dump_enabled", "no")]).listing(), Listing::NoDump);
        assert_eq!(learned(&[]).listing(), Listing::Untold);
    }

    #[test]
    fn an_item_that_the_server_would_refuse_is_not_sent() {
        static BYTES: [u8; 1 << 20] = [0; 1 << 20];
        let traits = learned(&[("item_size_max", "1000"), ("cas_enabled", "yes")]);
        let set = |bytes, flags| Command::Set { name: b"name", bytes, flags, expiry: 0, condition: Condition::Always };
        let most = |traits: &Traits, flags| {
            (0..1000).rev().find(|len| traits.check_size("s", &set(&BYTES[..*len], flags)).is_ok()).unwrap()
        };
        assert_eq!((most(&traits, 0), most(&traits, 7)), (937, 933));
        assert_eq!(most(&learned(&[("item_size_max", "1000"), ("cas_enabled", "no")]), 0), 945);
        let flagged = Traits::new(true);
        flagged.learn(&[("item_size_max".into(), "1000".into())]);
        assert_eq!(most(&flagged, 0), 933);
        assert_eq!(traits.check_size("s", &set(&BYTES[..938], 0)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(traits.check_size("s", &Command::Delete { name: &[0; 2000] }).is_ok());
        assert!(Traits::default().check_size("s", &set(&BYTES, 0)).is_ok());
    }
}
