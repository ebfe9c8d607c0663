//! `invalidation_replicas`: a removal is done when so many replicas have received it.
//!
//! WAIT holds up the connection that it is sent on, so it gets one of its own. It waits for the last write of its
//! connection; the writes of a server are replicated in their order, so a write of its own stands for all before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::names;
use super::resp::{RespReader, RespValue, command};
use super::store::RedisStore;
use super::{server_error, topology::Topology};
use crate::backend::remote::Removal;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{Server, protocol_error};
use crate::util::millis;

/// The most that is left for the answer when WAIT ends, which servers notice ten times a second.
const MARGIN: Duration = Duration::from_millis(500);
/// The most names that are tried to find one that belongs to a node of a cluster.
const MARKERS: u32 = 20_000;

impl RedisStore {
    /// Waits until enough replicas have what was removed.
    pub(super) async fn wait_for_replicas(
        &self,
        context: CallContext,
        prefix: &str,
        removal: Removal<'_>,
        handle: &Handle,
    ) -> Result<()> {
        let wanted = self.invalidation_replicas;
        let end = context.end_or(self.timeout);
        let mut waits = Vec::new();
        for server in owners(&self.topology, prefix, removal).await? {
            let Some(marker) = marker(&self.topology, &server, prefix) else { continue };
            waits.push(handle.spawn(async move { received(&server, &marker, wanted, end).await }));
        }
        for wait in waits {
            wait.await.map_err(|_| Error::new(ErrorKind::Closed, "the cache was closed"))??;
        }
        Ok(())
    }
}

/// Returns the servers that have what was removed. A name without a known server is an error: no replica is known either.
async fn owners(topology: &Topology, prefix: &str, removal: Removal<'_>) -> Result<Vec<Arc<Server>>> {
    let names: Vec<Vec<u8>> = match removal {
        Removal::All => return topology.primaries().await,
        Removal::Tags(tags) => tags.iter().map(|tag| names::tag_version(prefix, *tag)).collect(),
        Removal::Names(names) => names.iter().map(|name| name.to_vec()).collect(),
    };
    let mut owners: Vec<Arc<Server>> = Vec::new();
    for name in &names {
        let owner = topology.owner(names::slot(name), false).ok_or_else(|| unknown_owner(&topology.name()))?;
        if !owners.iter().any(|known| Arc::ptr_eq(known, &owner)) {
            owners.push(owner);
        }
    }
    Ok(owners)
}

/// Returns a marker's name that belongs to a server.
fn marker(topology: &Topology, server: &Arc<Server>, prefix: &str) -> Option<Vec<u8>> {
    let mut names = (0..MARKERS).map(|number| format!("{prefix}:w:{number}").into_bytes());
    names.find(|name| topology.owner(names::slot(name), false).is_some_and(|owner| Arc::ptr_eq(&owner, server)))
}

async fn received(server: &Server, marker: &[u8], wanted: u32, end: Instant) -> Result<()> {
    let apart = server.connect_dedicated().await?;
    let left = end.saturating_duration_since(Instant::now());
    let left = millis(left.saturating_sub(MARGIN.min(left / 4))).max(1);
    let (wanted_text, left_text) = (wanted.to_string(), left.to_string());
    let mut request = Vec::new();
    command(&mut request, &[b"SET", marker, b"1", b"PX", b"60000"]);
    command(&mut request, &[b"WAIT", wanted_text.as_bytes(), left_text.as_bytes()]);
    let bytes = apart.ask_all(&request, 2).await?;
    let mut replies = RespReader(&bytes);
    for reply in [replies.reply(), replies.reply()] {
        match reply.clone().next() {
            Some(RespValue::Error(text)) => return Err(server_error::error(server.name(), text)),
            Some(RespValue::Number(came)) if came < i64::from(wanted) => {
                return Err(too_few(server.name(), came, wanted));
            }
            Some(_) => {}
            None => return Err(protocol_error(server.name(), "too few replies")),
        }
    }
    Ok(())
}

#[cold]
fn unknown_owner(servers: &str) -> Error {
    let text = format!(
        "{servers}: the server of the removed keys is unknown at present, so that its replicas could not be asked \
         (invalidation_replicas): repeat the call"
    );
    Error::new(ErrorKind::Timeout, text)
}

#[cold]
fn too_few(server: &str, came: i64, wanted: u32) -> Error {
    let text = format!(
        "{server}: {came} of {wanted} replicas received the removal in time (invalidation_replicas). The server itself executed it: \
         check the replicas and their links, or repeat the call"
    );
    Error::new(ErrorKind::Timeout, text)
}
