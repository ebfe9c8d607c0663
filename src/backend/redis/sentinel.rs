//! Finds the present address of a primary, or of a replica of it, by asking sentinels. <https://redis.io/docs/reference/sentinel-clients>

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::handshake::{ClusterPolicy, Endpoint, Login, Redis, Resolver, Role};
use super::resp::{RespReader, RespValue, command};
use crate::config::{Address, ConnectionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Tls, ask_once};
use crate::util::lock;

/// The sentinels that know a primary by its name, to find one server.
pub struct Sentinels {
    addresses: Vec<Address>,
    pub master: String,
    login: Login,
    config: ConnectionConfig,
    tls: Option<Tls>,
    /// The sentinel that is asked first: it named the right server last.
    first: AtomicUsize,
    search: Mutex<Search>,
}

/// The progress of a search for the server among the sentinels.
#[derive(Default)]
struct Search {
    asked: usize,
    /// The addresses that the sentinels named.
    named: Vec<Address>,
}

impl Sentinels {
    /// Describes the sentinels and how to connect to them.
    pub fn new(
        addresses: &[Address],
        master: &str,
        login: Login,
        config: &ConnectionConfig,
        tls: &Option<Tls>,
    ) -> Self {
        Self {
            addresses: addresses.to_vec(),
            master: master.to_owned(),
            login,
            config: config.clone(),
            tls: tls.clone(),
            first: AtomicUsize::new(0),
            search: Mutex::default(),
        }
    }

    /// Returns the same sentinels, to find another server.
    pub fn another(&self) -> Self {
        Self::new(&self.addresses, &self.master, self.login.clone(), &self.config, &self.tls)
    }

    /// Returns the next address that the sentinels name, which no sentinel has named before.
    async fn next_address(&self, role: Role) -> Result<Option<Address>> {
        let mut last = None;
        while let Some(address) = self.next_sentinel() {
            match timeout(self.patience(), self.ask(address, role)).await {
                Ok(Ok(found)) if self.search().named.contains(&found) => {}
                Ok(Ok(found)) => {
                    self.search().named.push(found.clone());
                    return Ok(Some(found));
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(silent(address)),
            }
        }
        last.map_or(Ok(None), Err)
    }

    fn next_sentinel(&self) -> Option<&Address> {
        let mut search = self.search();
        if search.asked >= self.addresses.len() {
            return None;
        }
        search.asked += 1;
        self.addresses.get((self.first.load(Relaxed) + search.asked - 1) % self.addresses.len())
    }

    fn search(&self) -> MutexGuard<'_, Search> {
        lock(&self.search)
    }

    /// Returns the time for one sentinel: its share of the time to connect.
    fn patience(&self) -> Duration {
        self.config.connect_timeout / self.candidates().saturating_add(1)
    }

    async fn ask(&self, address: &Address, role: Role) -> Result<Address> {
        let endpoint = Endpoint::Fixed(address.clone());
        let protocol = Redis::new(self.login.clone(), endpoint, Role::Any, ClusterPolicy::Expected);
        let question: &[u8] = if role == Role::Replica { b"REPLICAS" } else { b"GET-MASTER-ADDR-BY-NAME" };
        let mut request = Vec::new();
        command(&mut request, &[b"SENTINEL", question, self.master.as_bytes()]);
        let name = format!("sentinel {address}");
        let reply = ask_once(&name, &protocol, &self.config, self.tls.as_ref(), &request).await?;
        let found = if role == Role::Replica { replica(&reply) } else { primary(&reply) };
        found.ok_or_else(|| self.unknown(&name, role))
    }

    #[cold]
    fn unknown(&self, sentinel: &str, role: Role) -> Error {
        let what = if role == Role::Replica { "replica of" } else { "primary called" };
        let text = format!(
            "{sentinel}: the sentinel knows no {what} {:?}: check the name in the URL's path (sentinel_master)",
            self.master
        );
        Error::new(ErrorKind::Connect, text)
    }
}

impl Resolver for Sentinels {
    fn resolve(&self, role: Role) -> BoxFuture<'_, Result<Address>> {
        async move {
            *self.search() = Search::default();
            let none = || Error::new(ErrorKind::Connect, "no sentinel is configured: set url or sentinels");
            self.next_address(role).await.and_then(|found| found.ok_or_else(none))
        }
        .boxed()
    }

    fn resolve_next(&self, role: Role) -> BoxFuture<'_, Result<Option<Address>>> {
        self.next_address(role).boxed()
    }

    fn confirm(&self) {
        let asked = self.search().asked;
        let first = self.first.load(Relaxed) + asked.saturating_sub(1);
        self.first.store(first % self.addresses.len().max(1), Relaxed);
        // The one that is first now has been asked.
        self.search().asked = asked.min(1);
    }

    fn candidates(&self) -> u32 {
        u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }
}

#[cold]
fn silent(address: &Address) -> Error {
    Error::new(ErrorKind::Connect, format!("sentinel {address}: no answer in time (socket_connect_timeout)"))
}

/// Reads the address of the primary.
fn primary(reply: &[u8]) -> Option<Address> {
    let mut parts = RespReader(reply).skip(1).filter_map(RespValue::bytes);
    address(parts.next()?, parts.next()?)
}

/// Reads the address of any replica that the sentinel finds healthy: each is a list of names and values.
fn replica(reply: &[u8]) -> Option<Address> {
    let mut replies = RespReader(reply);
    let Some(RespValue::Array(count)) = replies.next() else { return None };
    (0..count).find_map(|_| {
        let Some(RespValue::Array(fields)) = replies.next() else { return None };
        let fields: Vec<&[u8]> = replies
            .by_ref()
            .take(usize::try_from(fields).ok()?)
            .map(|field| field.bytes().unwrap_or_default())
            .collect();
        let value = |name: &[u8]| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let healthy = value(b"flags")? == b"slave" && value(b"master-link-status")? == b"ok";
        if healthy { address(value(b"ip")?, value(b"port")?) } else { None }
    })
}

fn address(host: &[u8], port: &[u8]) -> Option<Address> {
    let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?.to_owned();
    Some(Address::Tcp { host, port: std::str::from_utf8(port).ok()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_and_a_healthy_replica_are_read_from_the_answers() {
        let found = primary(b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n").unwrap();
        assert_eq!(found, Address::Tcp { host: "127.0.0.1".into(), port: 6380 });
        assert_eq!(primary(b"*-1\r\n"), None);
        assert_eq!(primary(b"-ERR\r\n"), None);
        let mut reply = Vec::new();
        for (port, flags) in [("1", "s_down,slave"), ("2", "slave")] {
            command(
                &mut reply,
                &[b"ip", b"h", b"port", port.as_bytes(), b"flags", flags.as_bytes(), b"master-link-status", b"ok"],
            );
        }
        let reply = [b"*2\r\n", &reply[..]].concat();
        assert_eq!(replica(&reply), Some(Address::Tcp { host: "h".into(), port: 2 }));
    }
}
