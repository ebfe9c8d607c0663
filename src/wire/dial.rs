//! Connecting: a name looked up, a socket with its options, a TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::socket::Socket;
use super::tls::Tls;
use crate::config::{Address, ConnectionConfig};

/// After this long without an acknowledgement the kernel gives a connection up.
const USER_TIMEOUT_MS: u32 = 5_000;

/// Connects to a server. Its name is looked up anew each time.
pub async fn dial(address: &Address, config: &ConnectionConfig, tls: Option<&Tls>) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => Socket::new(blocking(UnixStream::connect(path).await?.into_std()?.into())?, None),
        Address::Tcp { host, port } => {
            let stream = connect(host, *port).await?;
            set_options(&stream, config)?;
            match tls {
                None => Socket::new(blocking(stream.into_std()?.into())?, None),
                Some(tls) => encrypted(stream, host, tls).await,
            }
        }
    }
}

/// The socket blocks, for the threads that lead; the runtime asks it not to, call by call.
fn blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, false)?;
    Ok(fd)
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("the name {host} has no address"));
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn set_options(stream: &TcpStream, config: &ConnectionConfig) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, config.nodelay)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    if let Some(keepalive) = &config.keepalive {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(stream, keepalive.interval)?;
        sockopt::set_tcp_keepcnt(stream, keepalive.count)?;
    }
    Ok(())
}

async fn encrypted(stream: TcpStream, host: &str, tls: &Tls) -> io::Result<Socket> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is no name for TLS: {error}")))?;
    let (stream, session) = TlsConnector::from(tls.0.clone()).connect(name, stream).await?.into_inner();
    let session: ClientConnection = session;
    Socket::new(blocking(stream.into_std()?.into())?, Some(session))
}
