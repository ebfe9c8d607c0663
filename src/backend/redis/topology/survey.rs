//! A survey of a cluster: the servers that have keys at this moment, and whether keys are moving.
//!
//! Each primary is asked for itself, since the others hear of a change later than those it concerns. A walk through
//! the keys surveys before and after: it has seen all keys if both surveys are alike.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Layout};
use super::slots::{Node, SLOTS, nodes};
use crate::backend::redis::ask::reply_of;
use crate::backend::redis::resp::{RespReader, RespValue, command};
use crate::backend::redis::server_error;
use crate::entry::fingerprint;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{Server, protocol_error};

/// The most surveys that are made while slots have no owner, and the time between two of them.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// The most rounds in which a survey asks servers that the servers of the previous round named.
const ROUNDS: u32 = 5;

impl Cluster {
    /// Returns the present layout of the keys, from the servers themselves.
    pub async fn look(&self, context: CallContext) -> Result<Arc<Layout>> {
        self.known().await?;
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look_once(context).await? {
                Ok(layout) => return Ok(self.keep_layout(layout)),
                Err(error) if looks >= LOOKS || is_nearly_over(context) => return Err(error),
                Err(_) => self.mark_outdated(),
            }
            context.pause(PAUSE).await;
        }
    }

    /// Surveys once; returns the layout, or the error of slots that may have an owner in a moment.
    async fn look_once(&self, context: CallContext) -> Result<std::result::Result<Layout, Error>> {
        let mut survey = Survey::default();
        let mut ask = self.primaries();
        for round in 0..ROUNDS {
            if !survey.ask(context, ask).await? {
                return self.look_at_map().await;
            }
            if survey.unasked().is_empty() {
                break;
            }
            if round == 0 {
                // The map has the addresses that clients are to use.
                self.refreshed().await?;
            }
            ask = survey.not_yet_asked(self.primaries());
            if ask.is_empty() {
                ask = survey.not_yet_asked(survey.unasked().iter().filter_map(|node| self.server_of(node)).collect());
            }
            if ask.is_empty() {
                break;
            }
        }
        let layout = survey.layout();
        if let Err(error) = &layout
            && error.kind() != ErrorKind::Server
        {
            return Err(error.clone());
        }
        Ok(layout)
    }

    /// Returns the layout by the slot map alone, if the user may not run CLUSTER NODES. Slots that are being moved are
    /// unknown then.
    async fn look_at_map(&self) -> Result<std::result::Result<Layout, Error>> {
        self.refreshed().await?;
        let Some(hash) = self.map_hash() else { return Ok(Err(incomplete())) };
        Ok(Ok(Layout { hash, is_moving: true, servers: self.primaries() }))
    }
}

/// Returns whether the call has no time for another survey.
fn is_nearly_over(context: CallContext) -> bool {
    context.end().is_some_and(|deadline| Instant::now() + PAUSE * 2 >= deadline)
}

#[cold]
fn incomplete() -> Error {
    Error::new(
        ErrorKind::Server,
        "no node of the cluster serves some slots at present: the cluster is incomplete or failing over; try again later",
    )
}

/// The replies of the servers to CLUSTER NODES.
#[derive(Default)]
struct Survey {
    /// The servers that replied, with the lines of all nodes.
    answers: Vec<(Arc<Server>, Vec<Node>)>,
    /// The servers that did not, and their errors.
    failures: Vec<(Arc<Server>, Error)>,
}

impl Survey {
    /// Asks servers, all at once; false if the user may not ask.
    async fn ask(&mut self, context: CallContext, servers: Vec<Arc<Server>>) -> Result<bool> {
        let mut request = Vec::new();
        command(&mut request, &[b"CLUSTER", b"NODES"]);
        let context = context.not_driven();
        // A server that is known to be down takes no time.
        let mut sent = Vec::with_capacity(servers.len());
        for server in servers {
            sent.push(
                server
                    .connected()
                    .await
                    .map(|()| server.send(context, &request, 1))
                    .map_err(|error| (server.clone(), error))
                    .map(|answer| (server, answer)),
            );
        }
        for sent in sent {
            let (server, answer) = match sent {
                Ok(sent) => sent,
                Err(failure) => {
                    self.failures.push(failure);
                    continue;
                }
            };
            let reply = match answer {
                Some(Ok(answer)) => answer.await.map(|replies| replies.bytes),
                _ => reply_of(context, &server, &[b"CLUSTER", b"NODES"]).await,
            };
            match reply.and_then(|reply| read(&server, &reply)) {
                Ok(Some(nodes)) => self.answers.push((server, nodes)),
                Ok(None) => return Ok(false),
                Err(error) => self.failures.push((server, error)),
            }
        }
        Ok(true)
    }

    fn not_yet_asked(&self, servers: Vec<Arc<Server>>) -> Vec<Arc<Server>> {
        let asked = self.answers.iter().map(|it| &it.0).chain(self.failures.iter().map(|it| &it.0));
        let asked: Vec<&Arc<Server>> = asked.collect();
        servers.into_iter().filter(|server| !asked.iter().any(|asked| Arc::ptr_eq(asked, server))).collect()
    }

    /// Returns each server that answered, with the line that describes itself.
    fn selves(&self) -> impl Iterator<Item = (&Arc<Server>, &Node)> {
        self.answers.iter().filter_map(|(server, nodes)| Some((server, nodes.iter().find(|node| node.is_myself)?)))
    }

    /// Returns the ids of the nodes that keys are moving to.
    fn targets(&self) -> BTreeSet<&str> {
        let open = self.selves().flat_map(|(_, node)| node.open.iter());
        open.filter(|open| open.leaves).map(|open| &open.other[..]).collect()
    }

    /// Returns the nodes that may have keys and have not replied.
    fn unasked(&self) -> Vec<&Node> {
        let (asked, targets): (BTreeSet<&str>, _) =
            (self.selves().map(|(_, node)| &node.id[..]).collect(), self.targets());
        let mut unasked: Vec<&Node> = Vec::new();
        for node in self.answers.iter().flat_map(|(_, nodes)| nodes) {
            let may_have_keys = node.is_primary && !node.is_lost && !node.slots.is_empty();
            if (may_have_keys || targets.contains(&node.id[..]))
                && !asked.contains(&node.id[..])
                && !unasked.iter().any(|known| known.id == node.id)
            {
                unasked.push(node);
            }
        }
        unasked
    }

    fn layout(&self) -> Result<Layout> {
        let targets = self.targets();
        let has_keys = |node: &Node| !node.slots.is_empty() || !node.open.is_empty() || targets.contains(&node.id[..]);
        let mut holders: Vec<_> = self.selves().filter(|(_, node)| node.is_primary && has_keys(node)).collect();
        holders.sort_by(|one, other| one.1.id.cmp(&other.1.id));
        holders.dedup_by(|one, other| one.1.id == other.1.id);
        let answered = |id: &str| holders.iter().any(|(_, node)| node.id == id);
        if !covers_all(holders.iter().map(|(_, node)| *node)) || !targets.iter().all(|id| answered(id)) {
            return Err(self.failures.first().map_or_else(incomplete, |(_, error)| error.clone()));
        }
        let described: Vec<_> =
            holders.iter().map(|(_, node)| (&node.id, &node.epoch, &node.slots, &node.open)).collect();
        Ok(Layout {
            hash: fingerprint(format!("{described:?}").as_bytes()),
            is_moving: holders.iter().any(|(_, node)| !node.open.is_empty()),
            servers: holders.into_iter().map(|(server, _)| Arc::clone(server)).collect(),
        })
    }
}

/// Reads the nodes of a reply; `None` if the user may not ask.
fn read(server: &Server, reply: &[u8]) -> Result<Option<Vec<Node>>> {
    match RespReader(reply).next() {
        Some(RespValue::Error(text)) if is_refusal(text) => Ok(None),
        Some(RespValue::Error(text)) => Err(server_error::error(server.name(), text)),
        Some(reply) => {
            let read = reply.bytes().and_then(nodes);
            read.map(Some).ok_or_else(|| protocol_error(server.name(), "an unexpected reply to CLUSTER NODES"))
        }
        None => Err(protocol_error(server.name(), "an unexpected reply to CLUSTER NODES")),
    }
}

/// Returns whether the server refuses the question, to this user or to all.
fn is_refusal(text: &[u8]) -> bool {
    text.starts_with(b"NOPERM") || server_error::is_missing_command(&String::from_utf8_lossy(text))
}

fn covers_all<'a>(nodes: impl Iterator<Item = &'a Node>) -> bool {
    let mut has = vec![false; SLOTS];
    for (first, last) in nodes.flat_map(|node| node.slots.iter()) {
        if let Some(range) = has.get_mut(usize::from(*first)..=usize::from(*last)) {
            range.fill(true);
        }
    }
    has.iter().all(|has| *has)
}
