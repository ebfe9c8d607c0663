//! What is known of a server since it was connected to: the size of its items, whether it lists names.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::command::Command;
use crate::error::{Error, ErrorKind, Result};

/// Bytes an item has beside its name and value, at least.
const ITEM_OVERHEAD: u64 = 50;

/// A server's traits; read from its settings whenever it is connected to.
#[derive(Default)]
pub struct Traits {
    /// The most bytes of an item; 0: not known.
    item_size: AtomicU64,
    /// A `Listing`.
    listing: AtomicU64,
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
    /// Learns from the server's settings.
    pub fn learn(&self, settings: &[(String, String)]) {
        let setting = |name: &str| settings.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
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

    /// Whether it lists names, as far as is known.
    pub fn listing(&self) -> Listing {
        usize::try_from(self.listing.load(Relaxed))
            .ok()
            .and_then(|at| LISTINGS.get(at).copied())
            .unwrap_or(Listing::Unknown)
    }

    /// Refuses what the server certainly would, before it drops what is there for it.
    pub fn check_size(&self, server: &str, command: &Command) -> Result<()> {
        let Command::Set { name, bytes, .. } = command else { return Ok(()) };
        let most = self.item_size.load(Relaxed);
        let size = name.len() as u64 + bytes.len() as u64 + ITEM_OVERHEAD;
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
    fn an_item_that_is_certainly_too_large_is_not_sent() {
        let traits = learned(&[("item_size_max", "1000")]);
        let set = |bytes| Command::Set { name: b"name", bytes, flags: 0, expiry: 0, condition: Condition::Always };
        assert!(traits.check_size("s", &set(&[0; 946])).is_ok());
        assert_eq!(traits.check_size("s", &set(&[0; 947])).unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(traits.check_size("s", &Command::Delete { name: &[0; 2000] }).is_ok());
        assert!(Traits::default().check_size("s", &set(&[0; 1 << 20])).is_ok());
    }
}
