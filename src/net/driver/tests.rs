//! Leaders that end in every possible way: each request in flight gets a reply or an error, and its permit is released.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::*;
use crate::config::Address;
use crate::error::ErrorKind;
use crate::exec::blocking::wait;
use crate::net::request::InFlight;
use crate::net::request::{PendingReply, RawReplies};
use crate::net::socket::Socket;
use crate::net::{Frame, Framing, Handshake, Protocol};

/// A reply is a line; a line that begins with `!` is read with a panic.
struct Lines;

impl Framing for Lines {
    fn next(&mut self, bytes: &[u8]) -> std::result::Result<Frame, String> {
        assert!(!bytes.starts_with(b"!"), "an unexpected byte");
        let end = bytes.iter().position(|byte| *byte == b'\n');
        Ok(end.map_or(Frame::Partial, |end| Frame::Whole(end + 1)))
    }
}

impl Protocol for Lines {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(Self)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Err(Error::new(ErrorKind::Connect, "no address")) })
    }

    fn handshake<'a>(&'a self, _: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn ping(&self) -> &'static [u8] {
        b"ping\n"
    }
}

/// A connection, the server's end of it, and what is under way.
struct Pair {
    connection: Arc<Connection>,
    server: UnixStream,
    in_flight: Arc<InFlight>,
}

impl Pair {
    fn new() -> Self {
        let (ours, server) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), None).unwrap();
        let connection = Arc::new(Connection::new("s".into(), socket, &Lines, Arc::new(Notify::new())));
        Self { connection, server, in_flight: Arc::new(InFlight::new(100, 1000)) }
    }

    fn ask(&self) -> PendingReply {
        self.ask_in(CallContext::task())
    }

    fn ask_in(&self, context: CallContext) -> PendingReply {
        self.ask_for(context, 1)
    }

    fn ask_for(&self, context: CallContext, replies: u32) -> PendingReply {
        let permit = self.in_flight.acquire("s", 2).unwrap();
        self.connection.send(context, b"a\n", replies, permit).unwrap()
    }

    /// Receives what the server has sent, as a leader that then releases the role.
    fn receive(&self) {
        let lead = self.connection.try_lead(Leader::Thread).unwrap();
        let mut reader = self.connection.lock_reader();
        assert!(self.connection.step(&mut reader, Wait::No).is_ok());
        lead.release(reader);
    }

    /// Starts a caller's thread that asks, and sleeps or leads until it is answered.
    fn caller(&self) -> JoinHandle<Result<Vec<u8>>> {
        let (connection, in_flight) = (Arc::clone(&self.connection), Arc::clone(&self.in_flight));
        let before = self.connection.load();
        let caller = thread::spawn(move || {
            wait(|context| async move {
                let permit = in_flight.acquire("s", 2).unwrap();
                connection.send(context, b"a\n", 1, permit).unwrap().await.map(|replies| replies.bytes)
            })
        });
        while self.connection.load() == before {
            thread::sleep(Duration::from_millis(1));
        }
        caller
    }

    /// Starts a caller like `caller`, and returns when it sleeps because another leads.
    fn sleeper(&self) -> JoinHandle<Result<Vec<u8>>> {
        let caller = self.caller();
        while !self.connection.lock().expected.iter().all(|expected| expected.request.is_parked()) {
            thread::sleep(Duration::from_millis(1));
        }
        caller
    }

    fn reply(&self, bytes: &[u8]) {
        (&self.server).write_all(bytes).unwrap();
    }

    fn assert_over(&self) {
        assert!(self.connection.is_broken());
        assert!(self.connection.lock().leader == Leader::None);
        assert_eq!(self.in_flight.requests(), 0);
        assert_eq!(self.connection.cancelled(), 0);
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

fn killed() -> Error {
    Error::new(ErrorKind::Timeout, "killed")
}

/// Runs the connection's own task on a thread, until the connection breaks.
fn in_background(pair: &Pair) -> JoinHandle<()> {
    let connection = Arc::clone(&pair.connection);
    thread::spawn(|| runtime().block_on(connection.drive()))
}

fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "it does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_panic_of_a_thread_that_leads_fails_all_that_wait() {
    let pair = Pair::new();
    let callers = [pair.caller(), pair.caller(), pair.caller()];
    pair.reply(b"a\n!\n");
    let mut results: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    results.sort_by_key(Result::is_err);
    assert_eq!(results[0].as_deref().unwrap(), b"a\n");
    for failed in results.drain(1..) {
        assert_eq!(kind(failed), ErrorKind::Protocol);
    }
    pair.assert_over();
}

#[test]
fn a_panic_of_the_task_that_leads_fails_all_that_wait() {
    let pair = Pair::new();
    runtime().block_on(async {
        let task = tokio::spawn(Arc::clone(&pair.connection).drive());
        let (first, second, third) = (pair.ask(), pair.ask(), pair.ask());
        pair.reply(b"a\n!\n");
        assert_eq!(first.await.unwrap().bytes, b"a\n");
        assert_eq!((kind(second.await), kind(third.await)), (ErrorKind::Protocol, ErrorKind::Protocol));
        task.await.unwrap();
    });
    pair.assert_over();
}

#[test]
fn a_cancelled_task_fails_all_requests_whether_it_led_or_was_idle() {
    for led in [true, false] {
        let pair = Pair::new();
        runtime().block_on(async {
            let task = tokio::spawn(Arc::clone(&pair.connection).drive());
            if !led {
                let answer = pair.ask();
                pair.reply(b"a\n");
                answer.await.unwrap();
            }
            let answer = pair.ask();
            if led {
                tokio::task::yield_now().await;
            }
            task.abort();
            assert_eq!(kind(answer.await), ErrorKind::Protocol);
        });
        pair.assert_over();
    }
}

#[test]
fn a_panic_over_unsolicited_bytes_breaks_the_connection_alone() {
    let pair = Pair::new();
    pair.reply(b"!\n");
    pair.connection.check(Duration::from_secs(60));
    pair.assert_over();
    let permit = pair.in_flight.acquire("s", 2).unwrap();
    assert_eq!(kind(pair.connection.send(CallContext::task(), b"a\n", 1, permit)), ErrorKind::Protocol);
    assert_eq!(pair.in_flight.requests(), 0);
}

#[test]
fn a_waker_that_panics_takes_only_its_connection_with_it() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }
    let pair = Pair::new();
    let mut first = Box::pin(pair.ask());
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let caller = pair.caller();
    pair.reply(b"a\n");
    assert_eq!(kind(caller.join().unwrap()), ErrorKind::Protocol);
    assert!(matches!(first.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(RawReplies { .. }))));
    pair.assert_over();
}

#[test]
fn a_dropped_role_breaks_the_connection() {
    let pair = Pair::new();
    let lead = pair.connection.try_lead(Leader::Thread).unwrap();
    let caller = pair.sleeper();
    drop(lead);
    assert_eq!(kind(caller.join().unwrap()), ErrorKind::Protocol);
    pair.assert_over();
}

#[test]
fn releasing_or_idling_on_a_broken_connection_fails_all_requests() {
    for rests in [false, true] {
        let pair = Pair::new();
        let lead = pair.connection.try_lead(if rests { Leader::Task } else { Leader::Thread }).unwrap();
        let callers = [pair.sleeper(), pair.sleeper()];
        // Failing them is left to the leader, which has its own reply already and reads no more.
        pair.connection.kill(killed());
        if rests {
            assert!(!lead.go_idle());
        } else {
            lead.release(pair.connection.lock_reader());
        }
        for caller in callers {
            assert_eq!(kind(caller.join().unwrap()), ErrorKind::Timeout);
        }
        pair.assert_over();
    }
}

#[test]
fn a_kill_with_or_without_a_leader_fails_all_requests() {
    let pair = Pair::new();
    let callers = [pair.caller(), pair.caller()];
    pair.connection.kill(killed());
    for caller in callers {
        assert_eq!(kind(caller.join().unwrap()), ErrorKind::Timeout);
    }
    pair.assert_over();
    let pair = Pair::new();
    let answer = pair.ask();
    pair.connection.kill(killed());
    assert_eq!(kind(runtime().block_on(answer)), ErrorKind::Timeout);
    pair.assert_over();
}

/// A leader does not hand over to a request whose caller has not polled yet: parked followers come first.
#[test]
fn a_leader_hands_over_to_a_parked_follower() {
    let pair = Pair::new();
    let lead = pair.connection.try_lead(Leader::Thread).unwrap();
    let sleeper = pair.sleeper();
    let unpolled = pair.ask_in(CallContext::thread());
    lead.release(pair.connection.lock_reader());
    pair.reply(b"a\nb\n");
    assert_eq!(sleeper.join().unwrap().unwrap(), b"a\n");
    assert_eq!(wait(|_| unpolled).unwrap().bytes, b"b\n");
}

#[test]
fn what_was_given_up_keeps_its_room_until_its_reply_comes_and_is_no_longer_waited_for() {
    let pair = Pair::new();
    let (given_up, awaited) = (pair.ask(), pair.ask());
    drop(given_up);
    assert_eq!((pair.in_flight.requests(), pair.connection.cancelled()), (2, 1));
    pair.reply(b"a\nb\n");
    let answer = runtime().block_on(async {
        let task = tokio::spawn(Arc::clone(&pair.connection).drive());
        let answer = awaited.await.unwrap().bytes;
        task.abort();
        answer
    });
    assert_eq!(answer, b"b\n");
    assert_eq!((pair.in_flight.requests(), pair.connection.cancelled()), (0, 0));
    let mut sent = [0; 4];
    (&pair.server).read_exact(&mut sent).unwrap();
    assert_eq!(&sent, b"a\na\n");
}

/// The replies of a healthy server wait in the socket if no thread reads them: that is no pause of the server.
#[test]
fn the_task_reads_the_replies_to_a_request_that_was_given_up_between_them() {
    let pair = Pair::new();
    let task = in_background(&pair);
    let given_up = pair.ask_for(CallContext::thread(), 2);
    pair.reply(b"a\n");
    pair.receive();
    drop(given_up);
    pair.reply(b"b\n");
    thread::sleep(PAUSE + PAUSE / 2);
    let caller = pair.caller();
    pair.reply(b"c\n");
    assert_eq!(caller.join().unwrap().unwrap(), b"c\n");
    assert_eq!((pair.in_flight.requests(), pair.connection.cancelled()), (0, 0));
    pair.connection.kill(killed());
    task.join().unwrap();
}

#[test]
fn a_thread_that_must_not_block_reads_the_reply_of_a_near_server_itself() {
    let pair = Pair::new();
    let mut reply = pair.ask_in(CallContext::task().driven_until(Instant::now() + Duration::from_secs(10), true));
    // No task runs that could send or read.
    let mut sent = [0; 2];
    (&pair.server).read_exact(&mut sent).unwrap();
    pair.reply(b"b\n");
    assert_eq!(sent, *b"a\n");
    assert_eq!((&mut reply).now_or_never().unwrap().unwrap().bytes, b"b\n");
    assert!(pair.connection.lock().leader == Leader::None);
}

/// A caller waits for several servers one after another, and its thread may come late to those that have long replied.
#[test]
fn a_reply_that_came_before_the_thread_is_taken_after_the_deadline_too() {
    for length in [1, 3 * CHUNK] {
        let pair = Pair::new();
        let over = CallContext::thread().until(Instant::now());
        let (came, never_came) = (pair.ask_in(over), pair.ask_in(over));
        let line = [vec![b'x'; length], b"\n".to_vec()].concat();
        pair.reply(&line);
        assert_eq!(wait(|_| over.run_until(Instant::now(), |_| came)).unwrap().unwrap().bytes, line);
        assert!(wait(|_| over.run_until(Instant::now(), |_| never_came)).is_none());
        assert!(pair.connection.lock().leader == Leader::None && !pair.connection.is_broken());
    }
}

#[test]
fn a_reply_that_no_thread_has_read_is_no_silence_of_the_server() {
    let pair = Pair::new();
    let silence = Duration::from_millis(10);
    let (came, never_came) = (pair.ask_in(CallContext::thread()), pair.ask_in(CallContext::thread()));
    pair.reply(b"a\n");
    until(|| pair.connection.idle() > silence);
    pair.connection.check(silence);
    assert_eq!(came.now_or_never().unwrap().unwrap().bytes, b"a\n");
    assert!(!pair.connection.is_broken() && pair.connection.lock().leader == Leader::None);
    until(|| pair.connection.idle() > silence);
    pair.connection.check(silence);
    assert_eq!(kind(never_came.now_or_never().unwrap()), ErrorKind::Timeout);
    pair.assert_over();
}

#[test]
fn a_reply_that_takes_longer_than_a_moment_is_left_to_the_task() {
    let pair = Pair::new();
    let task = in_background(&pair);
    let mut reply = pair.ask_in(CallContext::task().driven_until(Instant::now() + Duration::from_millis(1), true));
    assert!((&mut reply).now_or_never().is_none());
    pair.reply(b"b\n");
    until(|| pair.connection.load() == 0);
    assert_eq!((&mut reply).now_or_never().unwrap().unwrap().bytes, b"b\n");
    pair.connection.kill(Error::new(ErrorKind::Closed, "the test is over"));
    task.join().unwrap();
}

#[test]
fn a_server_that_pauses_within_a_request_that_was_given_up_loses_its_connection() {
    for of_task in [false, true] {
        let pair = Pair::new();
        let task = in_background(&pair);
        let context = if of_task { CallContext::task() } else { CallContext::thread() };
        let given_up = pair.ask_for(context, 2);
        pair.reply(b"a\n");
        if of_task {
            until(|| pair.connection.lock_reader().expected.front().is_some_and(|first| first.replies == 1));
        } else {
            pair.receive();
        }
        drop(given_up);
        task.join().unwrap();
        pair.assert_over();
    }
}

#[test]
fn the_replies_to_each_request_are_kept_in_order_wherever_their_bytes_are_split() {
    let sent = b"a\nbb\nc\nd\neee\n";
    for at_once in 1..=sent.len() {
        let pair = Pair::new();
        let replies = [3, 1, 1].map(|replies| pair.ask_for(CallContext::task(), replies));
        for piece in sent.chunks(at_once) {
            pair.reply(piece);
            pair.receive();
        }
        let received = replies.map(|reply| reply.now_or_never().unwrap().unwrap().bytes);
        assert_eq!(received, [&b"a\nbb\nc\n"[..], b"d\n", b"eee\n"], "{at_once} at once");
    }
}
