//! Servers that take requests and answer none.

use std::future::ready;
use std::net::TcpListener;
use std::task::Context;

use futures_util::future::BoxFuture;

use super::*;
use crate::config::{BackendConfig, Config};
use crate::net::supervisor::FIRST_PAUSE;
use crate::net::{Frame, Framing, Handshake, MAX_LINE};

/// A protocol whose replies are lines, with the port of the server.
struct Lines(u16);

struct Line;

impl Framing for Line {
    fn next(&mut self, bytes: &[u8]) -> std::result::Result<Frame, String> {
        assert!(bytes.len() < MAX_LINE);
        Ok(bytes.iter().position(|byte| *byte == b'\n').map_or(Frame::Partial, |end| Frame::Whole(end + 1)))
    }
}

impl Protocol for Lines {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(Line)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        assert!(self.0 != 0, "a protocol that panics");
        Box::pin(ready(Ok(Address::Tcp { host: "127.0.0.1".into(), port: self.0 })))
    }

    fn handshake<'a>(&'a self, _: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(ready(Ok(())))
    }

    fn ping(&self) -> &'static [u8] {
        b"ping\n"
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn started(port: u16) -> Arc<Server> {
    let config = Config::from_text("redis://127.0.0.1?pool_size=1", &|_| None).unwrap();
    let BackendConfig::Redis(redis) = config.backend else { panic!("of Redis") };
    Server::spawn("s", Box::new(Lines(port)), &redis.connection, None, &Handle::current())
}

#[test]
fn a_close_waits_for_callers_and_not_for_what_was_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    runtime().block_on(async {
        let server = started(silent.local_addr().unwrap().port());
        server.connected().await.unwrap();
        let (given_up, awaited) = (
            server.send(CallContext::task(), b"a\n", 1).unwrap(),
            server.send(CallContext::task(), b"a\n", 1).unwrap().unwrap(),
        );
        drop(given_up);
        assert_eq!((server.in_flight(), server.awaited()), (2, 1));
        let mut closing = Box::pin(server.close(CallContext::task(), Instant::now() + Duration::from_secs(3600)));
        assert!(closing.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        drop(awaited);
        assert_eq!((server.in_flight(), server.awaited()), (2, 0));
        closing.await;
        assert!(server.send(CallContext::task(), b"a\n", 1).is_none());
    });
}

#[test]
fn a_panic_over_what_a_server_says_at_first_is_a_failure_to_connect() {
    runtime().block_on(async {
        let server = started(0);
        for _ in 0..2 {
            assert_eq!(server.connected().await.err().unwrap().kind(), ErrorKind::Protocol);
            CallContext::task().pause(FIRST_PAUSE).await;
        }
        server.stop();
    });
}

#[test]
fn a_server_that_the_cluster_has_no_longer_is_no_closed_cache() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    runtime().block_on(async {
        let server = started(silent.local_addr().unwrap().port());
        server.connected().await.unwrap();
        let in_flight = server.send(CallContext::task(), b"a\n", 1).unwrap().unwrap();
        server.retire(CallContext::task(), Instant::now()).await;
        server.retire_at_once();
        for error in [in_flight.await.err().unwrap(), server.connected().await.err().unwrap()] {
            assert!(error.kind() == ErrorKind::Connect && error.is_passing(), "{error}");
        }
        // It has ended as the cache ends.
        let server = started(silent.local_addr().unwrap().port());
        server.stop();
        server.retire_at_once();
        assert_eq!(server.connected().await.err().unwrap().kind(), ErrorKind::Closed);
    });
}
