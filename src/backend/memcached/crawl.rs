//! Walks of a server's crawler over all its names, on connections of their own. Each name is handed to the listeners as
//! it comes, and none is kept. All who ask during a walk share the next one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::handshake::{log_in_with_text, server_error_of};
use super::protocol::meta::{MetaFraming, number};
use super::protocol::{Codec, statistics_of, statistics_request};
use super::server_info::{FULL_WAIT, Fullness, ListingSupport, NEARLY_FULL_WAIT, ServerInfo, Table};
use super::{names, server_error};
use crate::config::{Address, ConnectionConfig};
use crate::credentials::CredentialSource;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Frame, Framing, Handshake, Protocol, Tls, ask_once};
use crate::util::lock;

/// The pause before another request while the server walks for another client: it walks for one at a time.
const PAUSE: Duration = Duration::from_millis(3);
/// The most time that such requests take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two walks, in which other processes begin theirs.
const GAP: Duration = Duration::from_millis(5);
/// The time without progress that ends a walk: the deadline of a call, within these.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
/// The longest time of a walk.
const LONGEST: Duration = Duration::from_secs(600);
/// The names beyond twice those of the server that end a walk: names that are set meanwhile are listed too.
const MORE_NAMES: u64 = 1_000_000;
/// The time between two checks whether the server is enlarging its hash table.
const LOOK: Duration = Duration::from_millis(50);

/// A name as the crawler reports it.
pub struct Listed<'a> {
    pub name: &'a [u8],
    /// The time at which the server forgets it, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// The bytes that the item takes.
    pub size: u64,
}

/// Receives each name; returns whether it wants more.
pub type EachListed = Box<dyn FnMut(&Listed<'_>) -> bool + Send>;

/// The walks over one server.
pub struct Crawler {
    pub server: String,
    pub address: Address,
    pub codec: Codec,
    pub credentials: Arc<CredentialSource>,
    pub connection: ConnectionConfig,
    pub tls: Option<Tls>,
    pub info: Arc<ServerInfo>,
    /// The listeners of the next walk.
    pub waiting: Mutex<Waiting>,
}

/// The listeners that wait for a walk.

#[derive(Default)]
pub struct Waiting {
    walking: bool,
    listeners: Vec<Listener>,
}

/// A receiver of the names of a walk.
struct Listener {
    each: EachListed,
    /// None once it was notified of the end of the walk.
    ended: Option<oneshot::Sender<Result<bool>>>,
}

impl Crawler {
    /// Walks over all names of the server; false if `each` had enough before the end. `spawn` runs a task that walks for
    /// all listeners.
    pub async fn crawl(self: &Arc<Self>, each: EachListed, spawn: impl FnOnce(BoxFuture<'static, ()>)) -> Result<bool> {
        let (ended, ending) = oneshot::channel();
        let idle = {
            let mut waiting = lock(&self.waiting);
            waiting.listeners.push(Listener { each, ended: Some(ended) });
            !std::mem::replace(&mut waiting.walking, true)
        };
        if idle {
            spawn(Box::pin(Arc::clone(self).walk_for_all()));
        }
        ending.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the cache was closed")))
    }

    /// Returns the error of a server that lists no names, as far as that is known.
    pub fn listing_error(&self) -> Option<Error> {
        let only_binary = self.codec == Codec::Binary && self.credentials.is_some();
        let reason = if only_binary {
            Some(
                "with SASL it accepts the binary protocol only, which has no command for that: use a server without SASL",
            )
        } else {
            self.info.listing().listing_error()
        };
        reason.map(|reason| unsupported(&self.server, reason))
    }

    /// Walks as long as there are listeners.
    async fn walk_for_all(self: Arc<Self>) {
        loop {
            let listeners = {
                let mut waiting = lock(&self.waiting);
                waiting.walking = !waiting.listeners.is_empty();
                std::mem::take(&mut waiting.listeners)
            };
            if listeners.is_empty() {
                return;
            }
            self.walk(listeners).await;
            sleep(GAP).await;
        }
    }

    async fn walk(&self, listeners: Vec<Listener>) {
        let sink = Arc::new(Sink { listeners: Mutex::new(listeners), ..Sink::default() });
        let walked = self.watched(&sink, self.ask(&sink)).await;
        let outcome = walked.and_then(|reply| match &*reply {
            b"END\r\n" | b"EN\r\n" => Ok(true),
            none if none.starts_with(b"NOTSTARTED") => Ok(true),
            other => Err(self.refused(other)),
        });
        lock(&sink.listeners).iter_mut().for_each(|listener| listener.end(outcome.clone()));
    }

    /// Returns the reply that follows the names.
    async fn ask(&self, sink: &Arc<Sink>) -> Result<Vec<u8>> {
        let protocol = Walk {
            address: self.address.clone(),
            credentials: Arc::clone(&self.credentials),
            info: Arc::clone(&self.info),
            sink: Arc::clone(sink),
        };
        // The handshake of this connection is the walk: it takes more than one request.
        ask_once(&self.server, &protocol, &self.connection, self.tls.as_ref(), Codec::Meta.ping()).await?;
        Ok(std::mem::take(&mut *lock(&sink.reply)))
    }

    /// Returns the reply, or an error if nothing comes for too long, or too much.
    async fn watched(&self, sink: &Sink, asking: impl Future<Output = Result<Vec<u8>>>) -> Result<Vec<u8>> {
        let silence = self.connection.timeout.clamp(SILENCE.0, SILENCE.1);
        let over = |what: String| {
            let text = format!("{}: the listing {what}: the server is slow or stopped; try again later", self.server);
            Err(Error::new(ErrorKind::Timeout, text))
        };
        let (mut asking, began) = (std::pin::pin!(asking), Instant::now());
        loop {
            if began.elapsed() > LONGEST {
                return over(format!("did not end within {LONGEST:?}"));
            }
            let before = sink.progress.load(Relaxed);
            tokio::select! {
                reply = &mut asking => return reply,
                () = sleep(silence) => {}
            }
            if sink.progress.load(Relaxed) == before {
                return over(format!("made no progress for {silence:?}"));
            }
        }
    }

    /// Returns the error of a refused listing, and records what it says of the server.
    #[cold]
    fn refused(&self, reply: &[u8]) -> Error {
        let server = &self.server;
        let Some(server_error) = server_error_of(reply) else {
            return crate::net::protocol_error(server, "an unexpected reply to a listing");
        };
        let is = |word: &[u8]| memchr::memmem::find(reply, word).is_some();
        let listing = if is(b"disabled") {
            ListingSupport::NoCrawler
        } else if is(b"not allowed") {
            ListingSupport::NoDump
        } else {
            return server_error::error(server, server_error, reply.trim_ascii_end());
        };
        self.info.note(listing);
        unsupported(server, listing.listing_error().unwrap_or_default())
    }
}

/// The listeners of a walk, and its progress.
#[derive(Default)]
struct Sink {
    listeners: Mutex<Vec<Listener>>,
    progress: AtomicU64,
    /// The number of lines received, and the most that may be received.
    lines: AtomicU64,
    most: AtomicU64,
    reply: Mutex<Vec<u8>>,
}

impl Listener {
    fn end(&mut self, outcome: Result<bool>) {
        if let Some(ended) = self.ended.take() {
            drop(ended.send(outcome));
        }
    }

    /// Receives a name; returns whether it wants more.
    fn hear(&mut self, listed: &Listed) -> bool {
        let gone = self.ended.as_ref().is_none_or(oneshot::Sender::is_closed);
        let more = !gone && (self.each)(listed);
        if !more {
            self.end(Ok(false));
        }
        more
    }
}

/// Returns the error of a server that lists no names.
#[cold]
fn unsupported(server: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{server}: this server cannot list keys: {reason}"))
}

/// Returns whether a reply asks to try again later. The crawler walks for another client then, or (since 1.6.28) the
/// server is enlarging its hash table.
fn is_busy(reply: &[u8]) -> bool {
    reply.starts_with(b"BUSY") || memchr::memmem::find(reply, b"locked").is_some()
}

#[cold]
fn too_busy(server: &str, what: &str) -> Error {
    let text = format!("{server}: the server has been {what} for {PATIENCE:?}; try again later");
    Error::new(ErrorKind::Busy, text)
}

/// The protocol of a connection for one walk, which is text: only text has that command.
struct Walk {
    address: Address,
    credentials: Arc<CredentialSource>,
    info: Arc<ServerInfo>,
    sink: Arc<Sink>,
}

impl Protocol for Walk {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(WalkFraming { sink: Arc::clone(&self.sink), rest: MetaFraming::new(0), name: Vec::new() })
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Ok(self.address.clone()) })
    }

    fn credentials(&self) -> Option<&CredentialSource> {
        Some(&self.credentials)
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            log_in_with_text(connection).await?;
            self.wait_for_table(connection).await?;
            let reply = self.sink.walk_with(connection).await?;
            *lock(&self.sink.reply) = reply;
            Ok(())
        })
    }

    fn ping(&self) -> &'static [u8] {
        Codec::Meta.ping()
    }
}

impl Walk {
    /// Waits until the server does not enlarge its table, and is not about to.
    async fn wait_for_table(&self, connection: &Handshake<'_>) -> Result<()> {
        let (began, mut fullness) = (Instant::now(), None);
        let mut since = began;
        loop {
            let statistics = connection.ask(&statistics_request(Codec::Meta, "")).await?;
            let Some(table) = Table::of(&statistics_of(Codec::Meta, &statistics)) else { return Ok(()) };
            self.sink.expect(table.items);
            if fullness.replace(table.fullness()) != Some(table.fullness()) {
                since = Instant::now();
            }
            match table.fullness() {
                Fullness::Free => return Ok(()),
                Fullness::NearlyFull if since.elapsed() >= NEARLY_FULL_WAIT => return Ok(()),
                Fullness::Full if self.info.is_settled(table.power) => return Ok(()),
                Fullness::Full if since.elapsed() >= FULL_WAIT => {
                    self.info.settle(table.power);
                    return Ok(());
                }
                _ if began.elapsed() >= PATIENCE => {
                    return Err(too_busy(connection.server(), "enlarging its hash table"));
                }
                _ => sleep(LOOK).await,
            }
        }
    }
}

impl Sink {
    /// Records the number of items that the server has.
    fn expect(&self, items: u64) {
        self.progress.fetch_add(1, Relaxed);
        self.most.store(items.saturating_mul(2).saturating_add(MORE_NAMES), Relaxed);
    }

    /// Counts a line and returns whether it is within the limit.
    fn take_line(&self) -> bool {
        self.progress.fetch_add(1, Relaxed);
        self.lines.fetch_add(1, Relaxed) < self.most.load(Relaxed).max(MORE_NAMES)
    }

    /// Requests a walk until the server walks for no other client; returns the reply that follows the names.
    async fn walk_with(&self, connection: &Handshake<'_>) -> Result<Vec<u8>> {
        let (began, mut request) = (Instant::now(), &b"lru_crawler metadump hash\r\n"[..]);
        loop {
            let reply = connection.ask(request).await?;
            match &*reply {
                busy if is_busy(busy) && began.elapsed() < PATIENCE => {
                    self.progress.fetch_add(1, Relaxed);
                    sleep(PAUSE).await;
                }
                busy if is_busy(busy) => return Err(too_busy(connection.server(), "listing keys for other clients")),
                // Before 1.6.9 it walks its lists, which is as good as long as nothing moves.
                old if old.starts_with(b"BADCLASS") && request.ends_with(b"hash\r\n") => {
                    request = b"lru_crawler metadump all\r\n";
                }
                _ => return Ok(reply),
            }
        }
    }
}

/// The line that Memcached 1.6.43 and later send before the names.
const BEGIN: &[u8] = b"OK\r\n";

/// Takes the crawler's lines out of the bytes as they come; the end is left as the reply.
struct WalkFraming {
    sink: Arc<Sink>,
    rest: MetaFraming,
    /// The name of a line, decoded.
    name: Vec<u8>,
}

impl Framing for WalkFraming {
    fn next(&mut self, bytes: &[u8]) -> std::result::Result<Frame, String> {
        let mut taken = 0;
        while let Some(line) = whole_line(&bytes[taken..]) {
            taken += line.len();
            if !self.sink.take_line() {
                return Err("a listing with more keys than the server has".into());
            }
            if line != BEGIN && !self.hand_on(line)? {
                return Err("no listener wants more of it".into());
            }
        }
        match taken {
            0 => self.rest.next(bytes),
            // All of it goes: nothing of a listing is kept with the connection.
            taken => Ok(Frame::Oversized { header: (0, taken), len: 0, instead: b"" }),
        }
    }
}

fn whole_line(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(BEGIN) {
        return Some(BEGIN);
    }
    if !bytes.starts_with(b"key=") {
        return None;
    }
    memchr::memchr(b'\n', bytes).map(|end| &bytes[..=end])
}

impl WalkFraming {
    fn hand_on(&mut self, line: &[u8]) -> std::result::Result<bool, String> {
        let (mut expires, mut size) = (0, 0);
        self.name.clear();
        for field in line.trim_ascii_end().split(|byte| *byte == b' ') {
            match field.iter().position(|byte| *byte == b'=').map(|at| field.split_at(at)) {
                Some((b"key", text)) => decode(&text[1..], &mut self.name),
                // -1 is never.
                Some((b"exp", text)) => expires = number(&text[1..]).unwrap_or(0),
                Some((b"size", text)) => size = number(&text[1..]).unwrap_or(0),
                _ => {}
            }
        }
        if self.name.len() > names::MAX_NAME {
            return Err("a key that is too long".into());
        }
        let listed = Listed { name: &self.name, expires, size };
        // Each listener receives the name, whether the others want more or not.
        let mut listeners = lock(&self.sink.listeners);
        Ok(listeners.iter_mut().map(|listener| listener.hear(&listed)).fold(false, |any, more| any | more))
    }
}

/// Decodes `%XX`; other bytes stay as they are.
fn decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(b'%'));
        rest = &rest[at + if byte.is_some() { 3 } else { 1 }..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{hostile_bytes, receive_in_pieces};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hostile_bytes_are_refused_or_read_and_never_a_panic(
            bytes in hostile_bytes(&[b"key=", b"key=a%20b exp=-1 la=1 cas=2 fetch=no cls=1 size=63\n", b"exp=", b"size=", b"%", b"END\r\n", b"BUSY now\r\n", b"ERROR"]),
            at_once in 1..20usize,
        ) {
            let each: EachListed = Box::new(|_| true);
            let (ended, _ending) = oneshot::channel();
            let listeners = Mutex::new(vec![Listener { each, ended: Some(ended) }]);
            let sink = Arc::new(Sink { listeners, ..Sink::default() });
            let framing = WalkFraming { sink, rest: MetaFraming::new(0), name: Vec::new() };
            drop(receive_in_pieces(Box::new(framing), &bytes, at_once));
        }
    }

    #[test]
    fn names_are_decoded() {
        let decoded = |text: &[u8]| {
            let mut out = Vec::new();
            decode(text, &mut out);
            out
        };
        assert_eq!(decoded(b"p%3Ae%3Aa%C3%a9"), "p:e:aé".as_bytes());
        assert_eq!(decoded(b"100%"), b"100%");
        assert_eq!(decoded(b"%zz%4"), b"%zz%4");
    }

    #[test]
    fn lines_are_handed_on_wherever_they_are_split_and_only_the_end_is_left() {
        let bytes = b"OK\r\nkey=a%20b exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nkey=c exp=17 la=1 cas=2 fetch=no cls=1 size=7\nEND\r\n";
        for at_once in 1..bytes.len() + 1 {
            let found = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&found);
            let each: EachListed = Box::new(move |it| {
                kept.lock().unwrap().push((it.name.to_vec(), it.expires, it.size));
                true
            });
            let (ended, _ending) = oneshot::channel();
            let listeners = Mutex::new(vec![Listener { each, ended: Some(ended) }]);
            let sink = Arc::new(Sink { listeners, ..Sink::default() });
            let mut framing = WalkFraming { sink, rest: MetaFraming::new(0), name: Vec::new() };
            let (mut buffer, mut whole) = (Vec::new(), None);
            for chunk in bytes.chunks(at_once) {
                buffer.extend_from_slice(chunk);
                loop {
                    match framing.next(&buffer).unwrap() {
                        Frame::Oversized { header: (0, end), len: 0, instead: b"" } => drop(buffer.drain(..end)),
                        Frame::Whole(end) => break whole = Some(buffer[..end].to_vec()),
                        _ => break,
                    }
                }
            }
            assert_eq!(whole.as_deref(), Some(&b"END\r\n"[..]));
            assert_eq!(*found.lock().unwrap(), [(b"a b".to_vec(), 0, 63), (b"c".to_vec(), 17, 7)]);
        }
    }
}
