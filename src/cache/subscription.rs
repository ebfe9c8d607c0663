//! Subscriptions to channels and to events: they belong to the handle of a cache, and follow it to another backend.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::{Cache, CacheHandle};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventFilter, EventKind};
use crate::exec::context::CallContext;
use crate::inbox::{Feed, Inbox, Taken};
use crate::message::Filter;
use crate::operation::Outcome;
use crate::util::lock;

/// A subscription to channels or to events. Any thread may call any method at any time; each message goes to one of those that wait.
pub struct Subscription {
    handle: Arc<CacheHandle>,
    /// The channels; `None`: events.
    channels: Option<Arc<Filter>>,
    inbox: Arc<Inbox>,
    /// `None` after the end.
    feed: Mutex<Option<Feed>>,
}

/// The subscriptions of a handle.
#[derive(Default)]
pub(super) struct Subscriptions(Mutex<Vec<Weak<Subscription>>>);

impl Subscriptions {
    /// Lets the subscriptions follow from a backend to another.
    pub(super) fn follow(&self, before: &Cache, cache: &Cache) {
        for subscription in lock(&self.0).iter().filter_map(Weak::upgrade) {
            if let Some(origin) = before.backend.origin() {
                subscription.inbox.tell(origin.event(EventKind::Switch, cache.backend.name().as_bytes()));
            }
            // That of its own handle: a view has names of its own.
            subscription.attach(&subscription.handle.load());
        }
    }

    /// Adds a subscription, if `attach` succeeds.
    fn add(&self, subscription: &Arc<Subscription>, attach: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut subscriptions = lock(&self.0);
        attach()?;
        subscriptions.retain(|other| other.strong_count() > 0);
        subscriptions.push(Arc::downgrade(subscription));
        Ok(())
    }

    /// Notes that messages may be lost here.
    pub(super) fn lose(&self) {
        lock(&self.0).iter().filter_map(Weak::upgrade).for_each(|subscription| subscription.inbox.lose());
    }

    /// Ends all subscriptions.
    pub(super) fn end(&self) {
        let all = std::mem::take(&mut *lock(&self.0));
        all.iter().filter_map(Weak::upgrade).for_each(|subscription| subscription.end(CacheHandle::closed()));
    }
}

impl CacheHandle {
    /// Subscribes to channels, and waits until the backend delivers their messages.
    pub async fn subscribe(self: &Arc<Self>, context: CallContext, filter: Filter) -> Result<Arc<Subscription>> {
        let inbox = Inbox::new(filter.max_bytes());
        self.begin(context, inbox, Some(Arc::new(filter))).await
    }

    /// Subscribes to events, and waits until the backend delivers them.
    pub async fn listen(self: &Arc<Self>, context: CallContext, filter: EventFilter) -> Result<Arc<Subscription>> {
        let filter = filter.of(self.load().naming.clone());
        self.begin(context, Inbox::of_events(filter), None).await
    }

    async fn begin(
        self: &Arc<Self>,
        context: CallContext,
        inbox: Inbox,
        channels: Option<Arc<Filter>>,
    ) -> Result<Arc<Subscription>> {
        let (handle, inbox) = (self.clone(), Arc::new(inbox));
        let subscription = Arc::new(Subscription { handle, channels, inbox, feed: Mutex::default() });
        let info = {
            let cache = self.load();
            if cache.is_view() {
                self.subscriptions.add(&subscription, || self.check_open())?;
            }
            // The subscriptions of a view follow its cache. A switch replaces the cache before it takes the lock.
            let root = cache.view.as_ref().map_or(self, |view| view.root());
            root.subscriptions.add(&subscription, || {
                root.check_open()?;
                subscription.attach(&self.load());
                Ok(())
            })?;
            self.load().backend.info()
        };
        let connected = subscription.inbox.connected();
        match info.call_timeout {
            None => connected.await?,
            Some(limit) => {
                let connected = context.run_until(Instant::now() + limit, |_| connected).await;
                connected.unwrap_or_else(|| Err(context.timed_out(info.name, limit)))?;
            }
        }
        Ok(subscription)
    }
}

impl Subscription {
    /// Returns the handle of its cache.
    pub fn handle(&self) -> &Arc<CacheHandle> {
        &self.handle
    }

    /// Takes the next message, and waits for it. Returns `None` if none came before the deadline, and the error of a
    /// subscription that is interrupted then.
    pub async fn next(&self, context: CallContext, deadline: Option<Instant>) -> Result<Option<Taken>> {
        self.handle.check_process()?;
        let Some(deadline) = deadline else { return self.inbox.next().await.map(Some) };
        match context.run_until(deadline, |_| self.inbox.next()).await {
            Some(taken) => taken.map(Some),
            None => self.inbox.outage().map_or(Ok(None), Err),
        }
    }

    /// Waits for the next message or event as the outcome of an operation.
    pub async fn next_outcome(&self, context: CallContext) -> Result<Outcome> {
        let taken = self.next(context, None).await?;
        let outcome = if self.channels.is_some() { Outcome::Message } else { Outcome::Event };
        Ok(taken.map_or(Outcome::Miss, |taken| outcome(Box::new(taken))))
    }

    /// Returns a file descriptor that is readable while there are messages, or after the end.
    pub fn fd(&self) -> Result<i32> {
        self.inbox.fd()
    }

    /// Ends the subscription. The messages that wait can still be taken.
    pub fn close(&self) {
        self.end(Error::new(ErrorKind::Closed, "the subscription was closed"));
    }

    /// Subscribes at the backend of a cache, and no longer at the one before.
    fn attach(&self, cache: &Cache) {
        drop(lock(&self.feed).take());
        let delivery = self.inbox.begin_delivery();
        let attached = match &self.channels {
            Some(filter) => cache.backend.subscribe(filter, delivery),
            None => cache.backend.listen(delivery),
        };
        match attached {
            Ok(feed) => *lock(&self.feed) = Some(feed),
            Err(error) => self.inbox.end(error),
        }
        // It may have been closed meanwhile.
        if self.inbox.has_ended() {
            drop(lock(&self.feed).take());
        }
    }

    fn end(&self, error: Error) {
        self.inbox.end(error);
        drop(lock(&self.feed).take());
    }
}
