//! One walk of a server's crawler over all its names, on a connection of its own; each is handed on as it comes, and
//! nothing is kept here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::fleet::{Fleet, Member};
use super::greet::{Login, log_in_with_text, refusal_of};
use super::meta::{MetaFraming, number};
use super::refusal;
use super::traits::Listing;
use crate::config::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::{Dialect, Frame, Framing, Greeting, ask_once};

/// A server walks for one client at a time; others are told so, and come again after this,
const PAUSE: Duration = Duration::from_millis(100);
/// at most for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// A walk that shows nothing for so long is over.
const SILENCE: Duration = Duration::from_secs(5);

/// A name as the crawler tells it.
pub struct Listed<'a> {
    pub name: &'a [u8],
    /// When the server forgets it, in seconds since 1970; 0: never.
    pub expires: u64,
    /// All bytes that it takes.
    pub size: u64,
}

/// Gets each name; whether there may be more.
pub type EachListed = Box<dyn FnMut(Listed<'_>) -> bool + Send>;

/// Who gets the names, and how far they have come.
struct Sink {
    each: Mutex<EachListed>,
    lines: AtomicU64,
    enough: AtomicU64,
}

/// Walks over all names of a server; false if `each` had enough before the end.
pub async fn crawl(fleet: &Fleet, member: &Member, each: EachListed) -> Result<bool> {
    // One at a time from here, so that the server's refusals are for other processes.
    let _turn = member.crawling.lock().await;
    let sink = Arc::new(Sink { each: Mutex::new(each), lines: AtomicU64::new(0), enough: AtomicU64::new(0) });
    let began = Instant::now();
    let mut request: &[u8] = b"lru_crawler metadump hash\r\n";
    loop {
        let reply = watched(&sink, ask(fleet, member, &sink, request)).await;
        if sink.enough.load(Relaxed) > 0 {
            return Ok(false);
        }
        let reply = reply?;
        match &*reply {
            b"END\r\n" | b"EN\r\n" => return Ok(true),
            busy if busy.starts_with(b"BUSY") && began.elapsed() < PATIENCE => sleep(PAUSE).await,
            busy if busy.starts_with(b"BUSY") => return Err(too_busy(member)),
            // Before 1.6.9 it walks its lists, which is as good as long as nothing moves.
            b"BADCLASS invalid class id\r\n" | b"CLIENT_ERROR bad command line format\r\n"
                if request.ends_with(b"hash\r\n") =>
            {
                request = b"lru_crawler metadump all\r\n";
            }
            other => return Err(refused(member, other)),
        }
    }
}

async fn ask(fleet: &Fleet, member: &Member, sink: &Arc<Sink>, request: &[u8]) -> Result<Vec<u8>> {
    let dialect = Walk { address: member.config.address.clone(), login: fleet.login.clone(), sink: Arc::clone(sink) };
    ask_once(member.server.name(), &dialect, &fleet.connection, fleet.tls.as_ref(), request).await
}

/// The answer, unless nothing comes for too long.
async fn watched(sink: &Sink, asking: impl Future<Output = Result<Vec<u8>>>) -> Result<Vec<u8>> {
    let mut asking = std::pin::pin!(asking);
    loop {
        let before = sink.lines.load(Relaxed);
        tokio::select! {
            reply = &mut asking => return reply,
            () = sleep(SILENCE) => {}
        }
        if sink.lines.load(Relaxed) == before {
            return Err(Error::new(ErrorKind::Timeout, format!("the listing showed nothing for {SILENCE:?}")));
        }
    }
}

/// What a refusal says of the server's listings.
#[cold]
fn refused(member: &Member, reply: &[u8]) -> Error {
    let server = member.server.name();
    let Some(refusal) = refusal_of(reply) else { return crate::wire::protocol(server, "no answer to a listing") };
    let is = |word: &[u8]| memchr::memmem::find(reply, word).is_some();
    let listing = if is(b"disabled") {
        Listing::NoCrawler
    } else if is(b"not allowed") {
        Listing::NoDump
    } else {
        return refusal::error(server, refusal, reply.trim_ascii_end());
    };
    member.traits.note(listing);
    unsupported(server, listing.refusal().unwrap_or_default())
}

/// A server that lists no names, and why.
#[cold]
pub fn unsupported(server: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{server} does not list its names: {reason}"))
}

#[cold]
fn too_busy(member: &Member) -> Error {
    let text =
        format!("{}: its crawler has been at work for others for {PATIENCE:?}; try again later", member.server.name());
    Error::new(ErrorKind::Busy, text)
}

/// A connection for one walk. Only text has that command.
struct Walk {
    address: Address,
    login: Login,
    sink: Arc<Sink>,
}

impl Dialect for Walk {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(WalkFraming { sink: Arc::clone(&self.sink), rest: MetaFraming::new(0), name: Vec::new() })
    }

    fn locate(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Ok(self.address.clone()) })
    }

    fn greet<'a>(&'a self, connection: &'a Greeting<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(log_in_with_text(connection, &self.login))
    }

    fn ping(&self) -> &'static [u8] {
        b"mn\r\n"
    }
}

/// Takes the crawler's lines out of the bytes as they come; what is left is the end.
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
            self.sink.lines.fetch_add(1, Relaxed);
            if !self.hand_on(line) {
                self.sink.enough.store(1, Relaxed);
                return Err("enough".into());
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
    if !bytes.starts_with(b"key=") {
        return None;
    }
    memchr::memchr(b'\n', bytes).map(|end| &bytes[..=end])
}

impl WalkFraming {
    fn hand_on(&mut self, line: &[u8]) -> bool {
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
        let mut each = self.sink.each.lock().unwrap_or_else(PoisonError::into_inner);
        each(Listed { name: &self.name, expires, size })
    }
}

/// Decodes `%XX`; what is no such thing stays as it is.
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
    use super::*;

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
        let bytes = b"key=a%20b exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nkey=c exp=17 la=1 cas=2 fetch=no cls=1 size=7\nEND\r\n";
        for at_once in 1..bytes.len() + 1 {
            let found = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&found);
            let each: EachListed = Box::new(move |it| {
                kept.lock().unwrap().push((it.name.to_vec(), it.expires, it.size));
                true
            });
            let sink = Arc::new(Sink { each: Mutex::new(each), lines: AtomicU64::new(0), enough: AtomicU64::new(0) });
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
