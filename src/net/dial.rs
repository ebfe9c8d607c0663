//! Connects to an address: looks up its name, sets the options of the socket, and makes the TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::net::sockopt;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::failure::NoTls;
use super::socket::Socket;
use super::tls::{ReadyTls, client_hello};
use crate::config::{Address, ConnectionConfig};

/// The time without an acknowledgement after which the kernel gives a connection up.
#[cfg(target_os = "linux")]
const USER_TIMEOUT_MS: u32 = 5_000;
/// The time between two attempts to connect to addresses of one name, as RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The most time that a probe for TLS takes.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);
/// A server that has not answered a TLS handshake after this long is asked whether it speaks plain text.
const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(150);

/// Connects to a server. Its name is looked up each time. `ping` is a request that a server without TLS would answer.
pub async fn dial(
    address: &Address,
    config: &ConnectionConfig,
    tls: Option<&ReadyTls>,
    ping: &[u8],
) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => Socket::new(blocking(UnixStream::connect(path).await?.into_std()?.into())?, None),
        Address::Tcp { host, port } => {
            let stream = connect(host, *port).await?;
            set_options(&stream, config)?;
            match tls {
                None => Socket::new(blocking(stream.into_std()?.into())?, None),
                Some(tls) => encrypted(stream, host, tls, ping).await,
            }
        }
    }
}

/// Makes the socket blocking, for leaders on callers' threads. The task sets the flag for each call instead.
fn blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, false)?;
    Ok(fd)
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = match lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        // A lookup says only that it failed; without a free descriptor it cannot even read its own files.
        Err(error) => return Err(no_descriptor().unwrap_or(error)),
    };
    race(interleaved(addresses), ATTEMPT_DELAY).await.unwrap_or_else(|| {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the name {host} has no address: check host and the name server"),
        ))
    })
}

/// Returns the error of opening a descriptor, if none can be opened.
fn no_descriptor() -> Option<io::Error> {
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).err().map(Into::into)
}

/// Orders addresses with their families in turn, beginning with that of the first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let leads_with_6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| it.is_ipv6() == leads_with_6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let turn = [first.next(), second.next()];
        if turn == [None, None] {
            return turns;
        }
        turns.extend(turn.into_iter().flatten());
    }
}

/// Returns the first connection to any of the addresses (RFC 8305). Another attempt begins when one fails, or has not
/// ended within `delay`; all continue until one succeeds. Returns the last failure if each fails; `None` without an
/// address.
async fn race(addresses: Vec<SocketAddr>, delay: Duration) -> Option<io::Result<TcpStream>> {
    let mut waiting = addresses.into_iter();
    let mut attempts: FuturesUnordered<_> = waiting.next().map(TcpStream::connect).into_iter().collect();
    let mut last = None;
    while !attempts.is_empty() {
        tokio::select! {
            Some(ended) = attempts.next() => {
                if ended.is_ok() {
                    return Some(ended);
                }
                last = Some(ended);
            }
            () = sleep(delay), if waiting.len() > 0 => {}
        }
        attempts.extend(waiting.next().map(TcpStream::connect));
    }
    last
}

fn set_options(stream: &TcpStream, config: &ConnectionConfig) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, config.nodelay)?;
    // Elsewhere the keepalive and the timeout of each operation remain.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    if let Some(keepalive) = &config.keepalive {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(stream, keepalive.interval)?;
        sockopt::set_tcp_keepcnt(stream, keepalive.count)?;
    }
    Ok(())
}

/// Agrees on TLS. A server that speaks plain text may answer nothing to a handshake, and wait for the end of a line: of
/// one that is silent, or that hangs up, a second connection finds out.
async fn encrypted(stream: TcpStream, host: &str, tls: &ReadyTls, ping: &[u8]) -> io::Result<Socket> {
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.to_owned()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is not a valid host name for TLS: {error}"))
        })?,
    };
    let address = stream.peer_addr()?;
    let mut handshake = pin!(TlsConnector::from(Arc::clone(&tls.client)).connect(name, stream));
    let agreed = match timeout(HANDSHAKE_PATIENCE, &mut handshake).await {
        Ok(agreed) => agreed,
        Err(_) => tokio::select! {
            agreed = &mut handshake => agreed,
            () = found_in_plain(address, ping) => return Err(NoTls::PlainText.into()),
        },
    };
    let (stream, session) = match agreed {
        Ok(stream) => stream.into_inner(),
        Err(error) if is_hang_up(&error) => return Err(hung_up(address, ping, &error).await),
        Err(error) => return Err(error),
    };
    let session: ClientConnection = session;
    Socket::new(blocking(stream.into_std()?.into())?, Some(session))
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted)
}

async fn hung_up(address: SocketAddr, ping: &[u8], error: &io::Error) -> io::Error {
    match timeout(HANDSHAKE_PATIENCE, found_in_plain(address, ping)).await {
        Ok(()) => NoTls::PlainText.into(),
        Err(_) => NoTls::HungUp(error.kind()).into(),
    }
}

/// Completes when the server answers a ping without TLS, and never if it does not.
async fn found_in_plain(address: SocketAddr, ping: &[u8]) {
    let answered = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(ping).await.ok()?;
        let mut begin = [0; 2];
        stream.read_exact(&mut begin).await.ok()?;
        (!is_tls_record(&begin)).then_some(())
    };
    if answered.await.is_none() {
        std::future::pending().await
    }
}

/// Returns whether a server that closed a plain-text connection answers a TLS handshake.
pub async fn is_tls_port(address: &Address) -> bool {
    let Address::Tcp { host, port } = address else { return false };
    let answered = async {
        let mut stream = connect(host, *port).await.ok()?;
        stream.write_all(&client_hello()?).await.ok()?;
        let mut begin = [0; 2];
        stream.read_exact(&mut begin).await.ok()?;
        Some(is_tls_record(&begin))
    };
    timeout(PROBE_PATIENCE, answered).await.is_ok_and(|answer| answer == Some(true))
}

/// Returns whether bytes begin a TLS record that a server may send first: an alert, or its part of the handshake.
pub fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Client};
    use std::time::Instant;

    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A listener whose queue is full: whoever connects to it gets no answer.
    struct Silent {
        address: SocketAddr,
        _listener: std::os::fd::OwnedFd,
        _waiting: Vec<std::os::fd::OwnedFd>,
    }

    impl Silent {
        fn new(at: &str) -> Self {
            let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            bind(&listener, &at.parse::<SocketAddr>().unwrap()).unwrap();
            listen(&listener, 0).unwrap();
            let address = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
            let waiting = (0..4).map(|_| {
                let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
                rustix::io::ioctl_fionbio(&client, true).unwrap();
                let _ = rustix::net::connect(&client, &address);
                client
            });
            let _waiting = waiting.collect();
            std::thread::sleep(Duration::from_millis(50));
            assert!(Client::connect_timeout(&address, Duration::from_millis(100)).is_err(), "it answers");
            Self { address, _listener: listener, _waiting }
        }
    }

    fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"].map(address);
        assert_eq!(interleaved(vec![a, b, c, d]), [a, d, b, c]);
        assert_eq!(interleaved(vec![d, a, b]), [d, a, b]);
        assert_eq!(interleaved(vec![]), []);
    }

    #[test]
    fn a_server_is_asked_for_tls() {
        for (answer, is_tls) in [(&b"\x15\x03\x03\0\x02\x02\x28"[..], true), (b"-ERR\r\n", false), (b"", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                use std::io::{Read, Write};
                let (mut client, _) = listener.accept().unwrap();
                let mut begin = [0; 3];
                client.read_exact(&mut begin).unwrap();
                assert_eq!(begin[..2], [0x16, 0x03]);
                client.write_all(answer).unwrap();
            });
            let address = Address::Tcp { host: "127.0.0.1".into(), port };
            assert_eq!(runtime().block_on(is_tls_port(&address)), is_tls);
            server.join().unwrap();
        }
    }

    #[test]
    fn an_address_that_is_silent_or_refuses_hides_no_other() {
        let (silent, listener) = (Silent::new("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0").unwrap());
        let answers = listener.local_addr().unwrap();
        for addresses in [
            vec![answers, silent.address],
            vec![silent.address, answers],
            vec![silent.address, refusing(), silent.address, answers],
            vec![refusing(), refusing(), answers],
        ] {
            let raced = runtime().block_on(race(addresses, Duration::from_millis(20)));
            assert_eq!(raced.unwrap().unwrap().peer_addr().unwrap(), answers);
        }
    }

    #[test]
    fn a_refusal_is_not_waited_for_and_the_last_failure_is_the_answer() {
        let begun = Instant::now();
        let raced = runtime().block_on(race(vec![refusing(), refusing()], Duration::from_secs(60)));
        assert_eq!(raced.unwrap().err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(runtime().block_on(race(vec![], Duration::ZERO)).is_none());
    }
}
