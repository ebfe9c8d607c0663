//! Redis for the executor: nodes own slots, replies may redirect, and a reply must be of the kind that its command
//! promises.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::commands::{Commands, Expected, Kind};
use super::resp::{self, RespReader, RespValue};
use super::server_error::{self, ServerError};
use super::topology::Topology;
use crate::backend::remote::Slice;
use crate::backend::remote::executor::{
    Classified, Failure, Group, Outcomes, Pending, Protocol, Request, Setback, Stage, Unassigned, execute,
};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{RawReplies, Server, protocol_error};

/// The time that another node of a cluster has to take over from one that is known to be down.
const TAKE_OVER: Duration = Duration::from_millis(500);

/// The rules by which a store's commands are executed.
#[derive(Clone, Copy)]
pub struct Policy {
    /// True if an idempotent command whose reply was lost or late is retried.
    pub repeat: bool,
    /// The time of a call; the end of this one where nothing else says it.
    pub limit: Duration,
}

/// The reply to a command, of the kind that the command promises.
pub enum Received {
    /// OK.
    Done,
    Number(i64),
    /// A string; one that is empty also stands for a value that is no string.
    Bulk(Option<Slice>),
    /// An array, undecoded.
    Array(Slice),
    /// The whole reply, undecoded.
    Reply(Slice),
    /// The name holds a value that is not the library's.
    WrongType,
}

impl Received {
    /// Returns the number; another reply is an error.
    pub fn number(self) -> Result<i64> {
        if let Self::Number(number) = self { Ok(number) } else { Err(unexpected()) }
    }

    /// Returns the string, if there is one.
    pub fn string(self) -> Option<Slice> {
        if let Self::Bulk(string) = self { string } else { None }
    }
}

/// Executes commands.
pub async fn run(context: CallContext, topology: &Topology, commands: &Commands, policy: Policy) -> Outcomes<Received> {
    execute(context, &Call { topology, commands, policy }).await
}

#[cold]
pub fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the reply does not match the command")
}

struct Call<'a> {
    topology: &'a Topology,
    commands: &'a Commands,
    policy: Policy,
}

/// The node that a command was redirected to.
#[derive(Default)]
struct Redirected {
    /// `None`: to none, the owner has it.
    to: Option<Arc<Server>>,
    /// True if the node has the slot for this command alone, and has to be told so.
    is_asking: bool,
}

impl Call<'_> {
    fn repeats_lost(&self) -> bool {
        self.policy.repeat && self.commands.kind != Kind::Once
    }

    /// Returns true if a read goes to a server that is not known to be down: another one than the replica that is.
    fn has_another(&self, index: usize) -> bool {
        self.commands.kind == Kind::Read && self.owner(index).is_some_and(|server| server.failure().is_none())
    }

    fn owner(&self, index: usize) -> Option<Arc<Server>> {
        self.topology.owner(self.commands.slot(index), self.commands.kind == Kind::Read)
    }

    /// Returns false for an error that says where or when a command of the caller is to be sent again. A script may return
    /// an error of any text after its writes: what must not run twice is sent again only to the owner of its slot.
    fn is_last_word(&self, reply: RespValue<'_>) -> bool {
        let RespValue::Error(text) = reply else { return true };
        match server_error::classify(text) {
            ServerError::WrongType | ServerError::Final => true,
            ServerError::Later | ServerError::Elsewhere => !self.repeats_lost(),
            ServerError::Moved(_) | ServerError::Ask(_) => false,
        }
    }

    /// Returns what a command received. WRONGTYPE is a reply to a command that takes it: bytes that are not the
    /// library's are there to be read, and nothing was written.
    fn received(&self, index: usize, reply: RespReader, replies: &Arc<RawReplies>) -> Option<Received> {
        let expected = self.commands.expected(index);
        let first = reply.clone().next().filter(|first| !first.is_of_resp3())?;
        if expected == Expected::Reply && self.is_last_word(first) {
            return Some(Received::Reply(Slice::of(replies, reply.0)));
        }
        if let RespValue::Error(text) = first {
            let is_foreign = server_error::classify(text) == ServerError::WrongType && expected.takes_other_types();
            let empty = || Received::Bulk(Some(Slice::of(replies, b"")));
            let foreign = || if expected == Expected::String { empty() } else { Received::WrongType };
            return is_foreign.then(foreign);
        }
        expected.fits(first).then(|| match first {
            RespValue::Number(number) => Received::Number(number),
            RespValue::Bulk(string) => Received::Bulk(string.map(|string| Slice::of(replies, string))),
            RespValue::Array(_) => Received::Array(Slice::of(replies, reply.0)),
            _ => Received::Done,
        })
    }

    /// Adds a command whose reply does not fit it.
    fn classify_other(
        &self,
        classified: &mut Classified<Self>,
        server: &Arc<Server>,
        reply: RespReader,
        from: &RawReplies,
    ) {
        match reply.clone().next() {
            Some(RespValue::Error(text)) => self.classify_error(classified, server, text),
            other => {
                let what = if other.is_some() { "a reply to another command" } else { "too few replies" };
                let error = protocol_error(server.name(), what);
                from.connection.kill(error.clone());
                classified.push(Err(error));
            }
        }
    }

    fn classify_error(&self, classified: &mut Classified<Self>, server: &Arc<Server>, text: &[u8]) {
        let (server_error, error) = (server_error::classify(text), server_error::error(server.name(), text));
        if matches!(server_error, ServerError::Moved(_) | ServerError::Later | ServerError::Elsewhere) {
            self.topology.mark_outdated();
        }
        match server_error {
            ServerError::WrongType | ServerError::Final => classified.push(Err(error)),
            ServerError::Moved(to) | ServerError::Ask(to) => {
                let is_asking = matches!(server_error, ServerError::Ask(_));
                let target = self.topology.redirected(to, server).map(|to| Redirected { to: Some(to), is_asking });
                classified.set_back(error, Setback::Redirect(target));
            }
            ServerError::Later => classified.set_back(error, Setback::Retry { pause: true }),
            ServerError::Elsewhere => {
                server.reconnect(&error);
                classified.set_back(error, Setback::Retry { pause: true });
            }
        }
    }
}

impl Protocol for Call<'_> {
    type Node = Arc<Server>;
    type Target = Redirected;
    type Reply = Received;
    const IMMEDIATE_RETRIES: u32 = 0;

    fn len(&self) -> usize {
        self.commands.len()
    }

    fn limit(&self) -> Duration {
        self.policy.limit
    }

    fn only_node(&self) -> Option<Arc<Server>> {
        match self.topology.only_server() {
            None if self.commands.len() == 1 => self.owner(0),
            only => only.cloned(),
        }
    }

    fn assign(
        &self,
        command: &Pending<Redirected>,
        groups: &mut Vec<Group<Self>>,
    ) -> std::result::Result<usize, Unassigned> {
        let Some(node) = command.target.to.clone().or_else(|| self.owner(command.index)) else {
            self.topology.mark_outdated();
            return Err(Unassigned::Retry(self.topology.unknown().unwrap_or_else(unassigned)));
        };
        Ok(groups.iter().position(|group| Arc::ptr_eq(&group.node, &node)).unwrap_or_else(|| {
            groups.push(Group { node, pending: Vec::new() });
            groups.len() - 1
        }))
    }

    fn server<'a>(&'a self, node: &'a Arc<Server>) -> &'a Server {
        node
    }

    fn encode<'a>(&'a self, group: &'a Group<Self>) -> Result<Request<'a>> {
        let once = !self.repeats_lost();
        if group.is_whole(self) && !group.pending.iter().any(|command| command.target.is_asking) {
            let replies = u32::try_from(self.commands.len()).unwrap_or(u32::MAX);
            return Ok(Request { bytes: Cow::Borrowed(self.commands.bytes()), replies, once });
        }
        let (mut bytes, mut replies) = (Vec::new(), 0);
        for command in group.commands(self) {
            if command.target.is_some_and(|target| target.is_asking) {
                resp::command(&mut bytes, &[b"ASKING"]);
                replies += 1;
            }
            if command.is_retry {
                self.commands.write_again(command.index, &mut bytes)?;
            } else {
                bytes.extend_from_slice(self.commands.command(command.index));
            }
            replies += 1;
        }
        Ok(Request { bytes: Cow::Owned(bytes), replies, once })
    }

    fn classify(&self, group: &Group<Self>, replies: RawReplies) -> Classified<Self> {
        let replies = Arc::new(replies);
        let mut rest = RespReader(&replies.bytes);
        let mut classified = Classified::new(group.commands(self).len());
        let mut set_back = None;
        let last = group.commands(self).len() - 1;
        for (at, command) in group.commands(self).enumerate() {
            if command.target.is_some_and(|target| target.is_asking) {
                rest.reply();
            }
            // Nothing follows the last reply: its end needs no search.
            let reply = if at == last { rest } else { rest.reply() };
            match self.received(command.index, reply, &replies) {
                Some(received) => {
                    if set_back.is_some_and(|slot| slot == self.commands.slot(command.index)) {
                        self.commands.note_reordered();
                    }
                    classified.push(Ok(received));
                }
                None => {
                    self.classify_other(&mut classified, &group.node, reply, &replies);
                    if classified.has_set_back_last() {
                        set_back = Some(self.commands.slot(command.index));
                    }
                }
            }
        }
        classified
    }

    fn may_retry(&self, index: usize, Failure { error, stage }: &Failure, elapsed: Duration) -> bool {
        let kind = error.kind();
        match stage {
            // Commands that were not sent can be sent again, unless too much is in flight.
            Stage::Unsent => kind != ErrorKind::Busy,
            // A server that is known to be down is not waited for; one that loads its data is.
            Stage::Unreachable if error.is_passing() => true,
            Stage::Unreachable => {
                let may_move = self.topology.is_cluster() || self.has_another(index);
                kind != ErrorKind::Closed && may_move && elapsed < TAKE_OVER
            }
            Stage::Lost if error.is_reply_too_long() && self.commands.may_be_too_long() => false,
            Stage::Lost => self.repeats_lost() && kind != ErrorKind::Closed,
            Stage::Unprepared | Stage::Late => false,
        }
    }

    fn is_once(&self, _index: usize) -> bool {
        self.commands.kind == Kind::Once
    }

    fn failed(&self) {
        self.topology.mark_outdated();
    }

    fn late(&self, context: CallContext, _index: usize) -> Error {
        context.timed_out(&self.topology.name(), self.policy.limit)
    }
}

#[cold]
fn unassigned() -> Error {
    let text = "no node of the cluster serves this slot at present: the cluster is incomplete or failing over; try again later";
    Error::new(ErrorKind::Server, text).passing()
}
