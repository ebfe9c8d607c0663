//! Tells a near cache of changes: one connection to each server on which it sends the names that were changed (client-side
//! caching with CLIENT TRACKING in the broadcasting mode). <https://redis.io/docs/reference/client-side-caching>
//!
//! A server sends what an iteration of its event loop has changed at the end of the iteration, maybe after the replies of
//! that iteration. A beat is a SET that the server answers and reports as a change. Its reply shows that the server has
//! told of all changes before the beat whose reply had come when this one was sent.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::names;
use super::notices::Notices;
use super::resp::{self, RespReader, RespValue};
use super::server_error;
use super::topology::Topology;
use crate::backend::near::Copies;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::exec::runtime::AbortOnDrop;
use crate::inbox::Feed;
use crate::net::{Beat, DedicatedConnection, Listener, Server, protocol_error};
use crate::util::clock::Moment;
use crate::util::random::random;

/// The first and the longest pause between two attempts to track a server.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The time in which a server has to send anything after a beat.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The longest time between two beats.
const LONGEST_BEAT: Duration = Duration::from_secs(1);
/// The number of beats in the time for which a change may go unnoticed.
const BEATS: u32 = 4;
/// The time after which the key of the beats goes if they end, in milliseconds.
const BEAT_LASTS: &[u8] = b"60000";
/// The number of beats between two surveys of the owners of the slots of a cluster.
const SURVEY: u32 = 2;
/// The most names that are tried for the beats of a server.
const NAMES: u32 = 1 << 18;
/// The source of changes that the owners of the slots are.
const OWNERS: u64 = 0;

/// Begins to tell copies of the changes under a prefix; ends when the feed is dropped.
pub fn track(
    topology: Arc<Topology>,
    prefix: &str,
    copies: Arc<Copies>,
    notices: Arc<Notices>,
    handle: &Handle,
) -> Result<Feed> {
    let beat = (copies.freshness.max_staleness() / BEATS).min(LONGEST_BEAT);
    let (prefix, number, refused) = (prefix.to_owned(), random()?, watch::Sender::new(None));
    let tracker = Arc::new(Tracker { topology, prefix, number, beat, copies, refused });
    let followed = Followed { tracker, handle: handle.clone(), servers: Vec::new(), owners: None, last_number: OWNERS };
    Ok(Feed::new(AbortOnDrop::spawn(handle, followed.run(notices))))
}

struct Tracker {
    topology: Arc<Topology>,
    prefix: String,
    /// Distinguishes the beats of this cache.
    number: u64,
    /// The time between two beats.
    beat: Duration,
    copies: Arc<Copies>,
    /// The reason why a server will not tell of changes.
    refused: watch::Sender<Option<Error>>,
}

/// The task that has every server tracked that has entries.
struct Followed {
    tracker: Arc<Tracker>,
    handle: Handle,
    servers: Vec<Tracked>,
    /// The owners of the slots as they were last.
    owners: Option<u64>,
    last_number: u64,
}

/// A server that is tracked.
struct Tracked {
    server: Arc<Server>,
    /// The number of the source that it is.
    number: u64,
    _task: AbortOnDrop,
}

impl Followed {
    /// Has the servers tracked that there are, until one refuses; from then on changes are published.
    async fn run(mut self, notices: Arc<Notices>) {
        let mut refused = self.tracker.refused.subscribe();
        let refusal = loop {
            let begun = Moment::now();
            match timeout(PATIENCE, self.tracker.topology.survey_owners()).await {
                Ok(Ok((owners, servers))) => self.follow(owners, &servers, begun),
                Ok(Err(_)) | Err(_) => self.tracker.copies.freshness.lose(OWNERS),
            }
            // Only a cluster is asked over the network.
            let pause = if self.tracker.topology.is_cluster() { self.tracker.beat * SURVEY } else { self.tracker.beat };
            let refusal = timeout(pause, refused.wait_for(Option::is_some)).await;
            if let Some(refusal) = refusal.ok().and_then(|refusal| refusal.ok()?.clone()) {
                break refusal;
            }
        };
        self.servers.clear();
        let copies = &self.tracker.copies;
        copies.limit();
        let answer = |answer: Result<()>| {
            copies.freshness.answer(answer.map_err(|no_channels| unsupported(&refusal, &no_channels)));
        };
        tracing::warn!(
            "copies of the near cache end after max_staleness, because the server does not tell of changes: {refusal}"
        );
        notices.follow(copies, &self.handle, answer).await;
    }

    /// Has these servers tracked, as they owned the slots at a moment.
    fn follow(&mut self, owners: u64, servers: &[Arc<Server>], at: Moment) {
        let are_same = servers.len() == self.servers.len() && servers.iter().all(|server| self.tracks(server));
        if self.owners.replace(owners) != Some(owners) || !are_same {
            self.servers.retain(|tracked| servers.iter().any(|server| Arc::ptr_eq(server, &tracked.server)));
            for server in servers.iter().filter(|server| !self.tracks(server)).cloned().collect::<Vec<_>>() {
                self.last_number += 1;
                let following = Arc::clone(&self.tracker).follow(self.last_number, Arc::clone(&server));
                let task = AbortOnDrop::spawn(&self.handle, following);
                self.servers.push(Tracked { server, number: self.last_number, _task: task });
            }
            let numbers = self.servers.iter().map(|tracked| tracked.number);
            self.tracker.copies.freshness.set_sources(numbers.chain([OWNERS]));
            // A server no longer tells of the changes in a slot that has left it.
            self.tracker.copies.changed_all();
        }
        self.tracker.copies.freshness.confirm(OWNERS, at);
    }

    fn tracks(&self, server: &Arc<Server>) -> bool {
        self.servers.iter().any(|tracked| Arc::ptr_eq(&tracked.server, server))
    }
}

/// The end of the tracking of a server.
struct Ended {
    error: Error,
    stage: Stage,
}

impl Tracker {
    /// Tracks a server again and again.
    async fn follow(self: Arc<Self>, number: u64, server: Arc<Server>) {
        let mut backoff = Backoff::between(CallContext::task(), PAUSES.0, PAUSES.1);
        loop {
            let following = AssertUnwindSafe(self.follow_once(number, &server)).catch_unwind().await;
            let panicked =
                |payload| Ended { error: Error::panicked("a near cache", payload), stage: Stage::Connecting };
            let Ended { error, stage } = following.unwrap_or_else(panicked);
            match stage {
                Stage::Beats => {
                    tracing::warn!("the near cache lost the connection that tells of changes: {error}");
                    backoff.reset();
                }
                Stage::Hello | Stage::Tracking if !error.is_outage() && !error.is_passing() => {
                    self.refused.send_replace(Some(error));
                    return;
                }
                _ => {}
            }
            self.copies.freshness.lose(number);
            self.topology.mark_outdated();
            backoff.pause().await;
        }
    }

    /// Tracks a server until the connection ends.
    async fn follow_once(&self, number: u64, server: &Arc<Server>) -> Ended {
        let connection = match server.connect_to_listen().await {
            Ok(connection) => connection,
            Err(error) => return Ended { error, stage: Stage::Connecting },
        };
        let (request, mut beat) = (self.request(), Vec::new());
        resp::command(&mut beat, &[b"SET", &self.beat_name(server), b"1", b"PX", BEAT_LASTS]);
        let mut told = Told::new(self, number, server, &connection);
        let error =
            connection.listen(&request, Beat { request: &beat, every: self.beat, patience: PATIENCE }, &mut told).await;
        Ended { error, stage: told.stage }
    }
}

impl Tracker {
    fn request(&self) -> Vec<u8> {
        let mut request = Vec::new();
        resp::command(&mut request, &[b"HELLO", b"3"]);
        let [entries, tags, beats] = [
            names::entry(&self.prefix, b""),
            names::tag_versions(&self.prefix),
            names::beats(&self.prefix, self.number),
        ];
        let prefixes = [&entries, &tags, &beats].into_iter().flat_map(|prefix| [b"PREFIX", &prefix[..]]);
        let command: [&[u8]; 4] = [b"CLIENT", b"TRACKING", b"ON", b"BCAST"];
        resp::command(&mut request, &command.into_iter().chain(prefixes).collect::<Vec<_>>());
        request
    }

    /// Returns a name for the beats of a server, in a slot of it.
    fn beat_name(&self, server: &Arc<Server>) -> Vec<u8> {
        let name = |attempt| names::beat(&self.prefix, self.number, attempt);
        let has = |slot| self.topology.owner(slot, false).is_some_and(|owner| Arc::ptr_eq(&owner, server));
        let names = if (0..names::SLOTS).any(has) { NAMES } else { 0 };
        (0..names).map(name).find(|name| has(names::slot(name))).unwrap_or_else(|| name(0))
    }
}

/// A request whose reply has not come.
enum Sent {
    Beat {
        at: Moment,
        /// The reply shows that the server has told of all changes before this moment.
        confirms: Option<Moment>,
    },
    Login,
}

/// The stages of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The reply to HELLO is next.
    Hello,
    /// The reply to CLIENT TRACKING is next.
    Tracking,
    /// The server tells of changes and answers beats.
    Beats,
}

/// Takes what a server tells.
struct Told<'a> {
    tracker: &'a Tracker,
    number: u64,
    server: &'a Server,
    connection: &'a DedicatedConnection,
    stage: Stage,
    sent: VecDeque<Sent>,
    /// The time of the last beat whose reply has come.
    answered: Option<Moment>,
    /// The times of the beats that the server has not told of.
    untold: VecDeque<(Moment, Instant)>,
}

impl<'a> Told<'a> {
    fn new(tracker: &'a Tracker, number: u64, server: &'a Server, connection: &'a DedicatedConnection) -> Self {
        let (stage, sent) = (Stage::Hello, VecDeque::new());
        Self { tracker, number, server, connection, stage, sent, answered: None, untold: VecDeque::new() }
    }

    fn take_reply(&mut self, reply: RespValue<'_>, frame: &[u8]) -> Result<()> {
        match (self.stage, reply) {
            (Stage::Hello | Stage::Tracking, RespValue::Error(text)) => {
                return Err(server_error::of_command(self.server.name(), text));
            }
            (Stage::Hello, RespValue::Map(_)) => self.stage = Stage::Tracking,
            (Stage::Tracking, RespValue::Status(b"OK")) => self.begin(),
            (Stage::Hello | Stage::Tracking, _) => {
                return Err(protocol_error(self.server.name(), "a reply to HELLO or CLIENT TRACKING of another kind"));
            }
            _ if matches!(self.sent.front(), Some(Sent::Login)) => {
                self.sent.pop_front();
                self.server.check_login(self.connection, frame);
            }
            (_, RespValue::Error(text)) if !serves(text) => return Err(server_error::error(self.server.name(), text)),
            _ => return self.take_answer(),
        }
        Ok(())
    }

    /// Begins to count on the server. It tells of what changes from now on; what was read before is not followed.
    fn begin(&mut self) {
        self.stage = Stage::Beats;
        self.tracker.copies.changed_all();
        self.tracker.copies.freshness.confirm(self.number, Moment::now());
        tracing::debug!(server = self.server.name(), "the server tells the near cache of changes");
    }

    fn take_answer(&mut self) -> Result<()> {
        let Some(Sent::Beat { at, confirms }) = self.sent.pop_front() else { return Ok(()) };
        if self.server.has_left(self.connection) {
            let text = format!("{}: another server has taken its place", self.server.name());
            return Err(Error::new(ErrorKind::Connect, text));
        }
        self.answered = Some(at);
        if let Some(until) = confirms {
            self.tracker.copies.freshness.confirm(self.number, until);
            self.untold.retain(|(at, _)| *at > until);
        }
        Ok(())
    }

    /// Takes the names that have changed; without any, all have.
    fn take_names(&mut self, mut names: RespReader<'_>) -> Result<()> {
        let count = match names.next() {
            Some(RespValue::Array(count)) => count,
            Some(RespValue::Null) => {
                self.tracker.copies.changed_all();
                return Ok(());
            }
            _ => return Err(protocol_error(self.server.name(), "changes without their names")),
        };
        let mut tags = Vec::new();
        for _ in 0..count {
            match names.next() {
                Some(RespValue::Bulk(Some(name))) => self.take_name(name, &mut tags),
                // The name was too long to receive: it is that of no entry.
                Some(RespValue::Bulk(None)) => {}
                _ => return Err(protocol_error(self.server.name(), "a change without its name")),
            }
        }
        if !tags.is_empty() {
            self.tracker.copies.changed_tags(&tags);
        }
        Ok(())
    }

    fn take_name(&mut self, name: &[u8], tags: &mut Vec<u64>) {
        let prefix = &self.tracker.prefix;
        if let Some(key) = names::key(prefix, name) {
            self.tracker.copies.changed_key(key);
        } else if let Some(tag) = names::tag(prefix, name) {
            tags.push(tag);
        } else if let Some((_, at)) = self.untold.pop_front() {
            // The only other names are those of the beats.
            self.tracker.copies.freshness.measured(at.elapsed());
        }
    }
}

impl Listener for Told<'_> {
    fn take(&mut self, frame: &[u8]) -> Result<()> {
        let mut elements = RespReader(frame);
        match elements.next() {
            // Other pushes say nothing of entries.
            Some(RespValue::Push(_)) if elements.next().and_then(RespValue::bytes) != Some(b"invalidate") => Ok(()),
            Some(RespValue::Push(_)) => self.take_names(elements),
            Some(reply) => self.take_reply(reply, frame),
            None => Ok(()),
        }
    }

    fn request(&mut self) -> Option<Vec<u8>> {
        let login = self.server.login_request(self.connection)?;
        self.sent.push_back(Sent::Login);
        Some(login)
    }

    fn beat(&mut self) {
        let at = Moment::now();
        self.sent.push_back(Sent::Beat { at, confirms: self.answered });
        self.untold.push_back((at, Instant::now()));
    }
}

/// Returns true if a server that refuses a beat is what it was, and its refusal an answer like another: it has no memory, or
/// may not write now. Others are no longer the owner of the slot, or do not know whether they are.
fn serves(refusal: &[u8]) -> bool {
    const CODES: [&[u8]; 5] = [b"OOM", b"NOPERM", b"MISCONF", b"NOREPLICAS", b"BUSY"];
    refusal.split(|byte| *byte == b' ').next().is_some_and(|code| CODES.contains(&code))
}

#[cold]
fn unsupported(refusal: &Error, no_channels: &Error) -> Error {
    let text = format!(
        "option near: the server does not tell of changes ({refusal}), and has no channels ({no_channels}): use Redis 6 or \
         later without a proxy, and a user who may run HELLO, CLIENT TRACKING, PUBLISH and SUBSCRIBE"
    );
    Error::new(ErrorKind::Unsupported, text)
}
