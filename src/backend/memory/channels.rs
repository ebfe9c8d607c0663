//! The subscriptions of a cache in memory.

use std::sync::{Arc, Mutex, Weak};

use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::util::lock;

/// The subscriptions. A message goes to them on the publisher's own thread.
#[derive(Default)]
pub(super) struct Channels(Arc<Mutex<Vec<Arc<Subscriber>>>>);

struct Subscriber {
    filter: Arc<Filter>,
    delivery: Delivery,
}

/// Removes a subscriber.
struct Leaving {
    subscribers: Weak<Mutex<Vec<Arc<Subscriber>>>>,
    subscriber: Arc<Subscriber>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(subscribers) = self.subscribers.upgrade() {
            lock(&subscribers).retain(|other| !Arc::ptr_eq(other, &self.subscriber));
        }
    }
}

impl Channels {
    /// Sends a message; returns the number of subscriptions that it went to.
    pub(super) fn publish(&self, channel: &[u8], message: &[u8]) -> u64 {
        // The lock is held to the end: all subscriptions get the messages of a channel in the same order.
        let subscribers = lock(&self.0);
        let mut count = 0;
        for subscriber in subscribers.iter().filter(|it| it.filter.selects(channel)) {
            subscriber.delivery.push(channel, message);
            count += 1;
        }
        count
    }

    /// Subscribes until the feed is dropped.
    pub(super) fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Feed {
        let subscriber = Arc::new(Subscriber { filter: filter.clone(), delivery });
        let mut subscribers = lock(&self.0);
        subscriber.delivery.live();
        subscribers.push(subscriber.clone());
        Feed::new(Leaving { subscribers: Arc::downgrade(&self.0), subscriber })
    }
}
