//! The events of a cache in memory: they go to its own readers, on the thread that makes the change.

use std::slice;
use std::sync::{Arc, Mutex, OnceLock};

use super::channels::Channels;
use crate::error::Result;
use crate::event::Origin;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::operation::Change;
use crate::util::lock;

/// The only channel.
const CHANNEL: &[u8] = b"events";

/// The events; nothing is done for them before the first reader.
#[derive(Default)]
pub(super) struct Events(OnceLock<Listened>);

struct Listened {
    origin: Origin,
    filter: Arc<Filter>,
    channels: Channels,
    /// Held while a message is numbered and handed over: none overtakes another.
    turn: Mutex<()>,
}

impl Events {
    /// Tells the readers of a change that was made.
    #[inline(always)]
    pub(super) fn tell(&self, change: &Change<'_>) {
        if let Some(listened) = self.0.get() {
            listened.tell(change);
        }
    }

    /// Tells the readers that a key was deleted.
    #[inline(always)]
    pub(super) fn tell_of_key(&self, key: &[u8]) {
        if let Some(listened) = self.0.get() {
            listened.tell(&Change::Keys(slice::from_ref(&key).into()));
        }
    }

    /// Returns what tells the readers of a change when it is dropped: also when the change was cancelled.
    pub(super) fn at_end<'a>(&'a self, change: Change<'a>) -> impl Drop + Send + 'a {
        Ending { events: self, change }
    }

    /// Delivers the events until the feed is dropped.
    pub(super) fn listen(&self, delivery: Delivery) -> Result<Feed> {
        let listened = match self.0.get() {
            Some(listened) => listened,
            None => {
                let (origin, filter) = (Origin::new()?, Filter::new(&[CHANNEL], &[], 0)?);
                self.0.get_or_init(|| Listened {
                    origin,
                    filter: Arc::new(filter),
                    channels: Channels::default(),
                    turn: Mutex::default(),
                })
            }
        };
        Ok(listened.channels.subscribe(&listened.filter, delivery.of(listened.origin.number)))
    }

    /// Returns the cache as the origin of events, once there was a reader.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.0.get().map(|listened| &listened.origin)
    }
}

struct Ending<'a> {
    events: &'a Events,
    change: Change<'a>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.events.tell(&self.change);
    }
}

impl Listened {
    #[cold]
    fn tell(&self, change: &Change<'_>) {
        let mut drafts = self.origin.drafts(change);
        let _turn = lock(&self.turn);
        for draft in &mut drafts {
            self.origin.number(draft);
            self.channels.publish(CHANNEL, draft.bytes());
        }
    }
}
