//! Memcached for the executor: the ring owns names, each reply repeats the number of its request, and with
//! `failover: eject` each group begins with the epoch that its entries count with.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::command::{Command, Condition, Mismatch, Reply, random_number};
use super::discovery::Current;
use super::epoch;
use super::handshake::RECORD;
use super::names;
use super::nodes::{Node, Nodes, Owner};
use super::protocol::{Codec, list, meta};
use super::received::{Received, What};
use super::server_error::{self, ServerError};
use crate::backend::remote::Slice;
use crate::backend::remote::executor::{
    self, Classified, Failure, Group, Outcomes, Pending, Request, Setback, Stage, Unassigned, execute,
};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{MAX_REPLY, RawReplies, Server};

/// The bytes of a record that the request for an epoch leaves free.
const WITHIN_RECORD: usize = RECORD - 1024;
/// Length of the longest command that may exceed it, together with one on the same name.
const FOLLOWER: usize = 512;

/// Commands of one call; a single one needs no allocation.
pub type Commands<'a> = SmallVec<[Command<'a>; 1]>;

/// Executes commands.
pub async fn run(context: CallContext, current: &Current, commands: &[Command<'_>]) -> Outcomes<Received> {
    match current.known(context).await {
        Ok(nodes) => execute(context, &Call { nodes: &nodes, commands, renews: false }).await,
        Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// Executes commands that store random numbers. A command that is sent again stores another number: a copy that arrives
/// late must not bring back a tag version that entries were set with meanwhile.
pub async fn run_renewed(context: CallContext, current: &Current, commands: &[Command<'_>]) -> Outcomes<Received> {
    match current.known(context).await {
        Ok(nodes) => execute(context, &Call { nodes: &nodes, commands, renews: true }).await,
        Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
    }
}

struct Call<'a> {
    nodes: &'a Nodes,
    commands: &'a [Command<'a>],
    /// True if a command stores another random number when it is sent again.
    renews: bool,
}

/// Commands for one server, as they are sent.
struct Batch {
    owner: Owner,
    /// The number of the first request.
    number: u32,
    /// The epoch that entries are written with.
    epoch: u32,
    /// About how many bytes the request has.
    bytes: usize,
    /// The number of names in a list, where all commands are reads that lists answer; 0: each is sent by itself.
    listed: usize,
}

impl Call<'_> {
    fn node(&self, owner: Owner) -> &Node {
        &self.nodes.all[owner.node]
    }

    fn owner(&self, command: &Command) -> Result<Owner> {
        let owner = self.nodes.owner(command.name()).ok_or_else(|| self.nodes.all_away())?;
        let node = self.node(owner);
        node.info.check_size(node.server.name(), command)?;
        Ok(owner)
    }

    /// Returns the number of names in a list that reads these commands; 0: each is sent by itself.
    fn listed(&self, owner: Owner, mut commands: impl ExactSizeIterator<Item = usize>) -> usize {
        let may_list =
            self.nodes.protocol == Codec::Meta && !self.nodes.has_marked_entries() && commands.len() >= list::LEAST;
        let is_read = |index: usize| matches!(self.commands[index], Command::Get { .. } | Command::Peek { .. });
        if may_list && commands.all(is_read) { self.node(owner).info.most_in(MAX_REPLY).min(list::MOST) } else { 0 }
    }

    /// Returns whether a command has room in a group, which over TLS has to fit in a record.
    fn fits(&self, group: &Group<Self>, command: &Command) -> bool {
        // A removal goes with the look at what it removes, or another connection could be faster with it.
        let follows = || {
            let last = group.pending.last().map(|last| self.commands[last.index].name());
            command.size() <= FOLLOWER && last == Some(command.name())
        };
        self.nodes.tls.is_none() || group.node.bytes + command.size() <= WITHIN_RECORD || follows()
    }

    fn writes(&self, group: &Group<Self>) -> bool {
        let is_write = |index: usize| matches!(self.commands[index], Command::Set { .. } | Command::Count { .. });
        group.commands(self).any(|command| is_write(command.index))
    }

    /// Returns the command that reads a group's epoch; one that is missing is created before anything is written with it.
    fn epoch_command<'n>(&self, group: &Group<Self>, name: &'n [u8]) -> Command<'n> {
        let seed = epoch::after(group.node.epoch);
        if self.writes(group) { Command::Count { name, seed, add: 0 } } else { Command::Peek { name } }
    }

    /// Returns a command as it is sent: with flags that are asked for, or those of its epoch.
    fn with_epoch(&self, index: usize, epoch: u32) -> Command<'_> {
        match self.commands[index] {
            Command::Get { name } if self.nodes.has_marked_entries() => Command::GetMarked { name },
            Command::Set { name, bytes, flags: 0, expiry, condition } => {
                Command::Set { name, bytes, flags: epoch, expiry, condition }
            }
            other => other,
        }
    }

    /// Reads the epoch that a group's replies count with; 0: there is none, and nothing counts.
    fn read_epoch(&self, group: &Group<Self>, replies: &mut &[u8]) -> std::result::Result<u32, Mismatch> {
        let Batch { owner, number, .. } = group.node;
        let name = names::epoch(&self.nodes.prefix, owner.kind);
        let epoch = match self.nodes.protocol.read(replies, number, &self.epoch_command(group, &name))? {
            Reply::Number(number) => number,
            Reply::Value { bytes, .. } => meta::number(bytes).unwrap_or(0),
            _ => 0,
        };
        self.node(owner).epochs.learn(owner.kind, epoch::short(epoch));
        Ok(epoch::short(epoch))
    }

    /// Decodes the replies to a group, up to one that cannot be read.
    fn decode(
        &self,
        group: &Group<Self>,
        replies: &Arc<RawReplies>,
        classified: &mut Classified<Self>,
    ) -> std::result::Result<(), Mismatch> {
        let (mut rest, mut number) = (&*replies.bytes, group.node.number);
        if group.node.listed > 0 {
            return self.decode_lists(group, replies, classified);
        }
        let epoch = if self.nodes.ejects { self.read_epoch(group, &mut rest)? } else { self.nodes.era };
        for command in group.commands(self) {
            number = number.wrapping_add(1);
            let sent = self.with_epoch(command.index, group.node.epoch);
            let reply = self.nodes.protocol.read(&mut rest, number, &sent)?;
            self.classify_one(command.index, &sent, reply, epoch, group.node.epoch, replies, classified);
        }
        Ok(())
    }

    /// Decodes the replies to a group that lists read, up to one that cannot be read.
    fn decode_lists(
        &self,
        group: &Group<Self>,
        replies: &Arc<RawReplies>,
        classified: &mut Classified<Self>,
    ) -> std::result::Result<(), Mismatch> {
        let Batch { number, listed, .. } = group.node;
        let (mut rest, commands) = (&*replies.bytes, group.commands(self));
        let mut reader = list::Reader::new(number, listed, commands.len());
        for command in commands {
            let sent = &self.commands[command.index];
            let reply = reader.next(&mut rest, sent.name())?;
            if reader.is_over() && matches!(reply, Reply::Refused(..)) {
                // Without the number of the request its other replies do not count.
                *classified = Classified::new(group.commands(self).len());
                let refused = group.commands(self).map(|command| command.index);
                refused.for_each(|index| self.classify_one(index, sent, reply, 0, 0, replies, classified));
                break;
            }
            self.classify_one(command.index, sent, reply, 0, 0, replies, classified);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn classify_one(
        &self,
        index: usize,
        sent: &Command,
        reply: Reply,
        epoch: u32,
        written: u32,
        replies: &Arc<RawReplies>,
        classified: &mut Classified<Self>,
    ) {
        let server = replies.connection.server();
        match reply {
            Reply::Value { flags, version, .. } if self.is_outdated(index, flags, epoch) => {
                classified.push(Ok(Received { what: self.outdated(index, version, replies), epoch }));
            }
            Reply::Refused(ServerError::Later, text) => {
                let error = server_error::error(server, ServerError::Later, text);
                classified.set_back(error, Setback::Retry { pause: true });
            }
            Reply::Done if self.is_of_another_epoch(index, epoch, written) => {
                classified.set_back(epoch::changing(server), Setback::Retry { pause: false });
            }
            reply if reply.fits(sent) => classified.push(Ok(Received { what: what(reply, replies), epoch })),
            reply => classified.push(Err(refused(reply, replies))),
        }
    }

    /// Returns whether an entry was set in an epoch that is over, or is not known.
    fn is_outdated(&self, index: usize, flags: u32, epoch: u32) -> bool {
        let counts = match self.commands[index] {
            // A report tells what is there.
            Command::Inspect { .. } => return false,
            Command::Peek { .. } | Command::Mark { .. } => true,
            _ => flags == epoch,
        };
        self.nodes.has_marked_entries() && (epoch == 0 || !counts)
    }

    /// Returns what an outdated entry is: nothing, or bytes without a meaning for a caller that would replace them.
    fn outdated(&self, index: usize, version: u64, replies: &Arc<RawReplies>) -> What {
        match self.commands[index] {
            Command::GetMarked { .. } => What::Value { bytes: Slice::of(replies, b""), flags: 0, version },
            _ => What::Missing,
        }
    }

    /// Returns whether an entry was stored that cannot be read, since the epoch has changed.
    fn is_of_another_epoch(&self, index: usize, epoch: u32, written: u32) -> bool {
        matches!(self.commands[index], Command::Set { flags: 0, .. }) && epoch != written
    }
}

/// Returns what a reply says that fits its command.
fn what(reply: Reply, replies: &Arc<RawReplies>) -> What {
    match reply {
        Reply::Value { bytes, flags, version } => What::Value { bytes: Slice::of(replies, bytes), flags, version },
        Reply::Number(number) => What::Number(number),
        Reply::Done => What::Done,
        Reply::Missing => What::Missing,
        Reply::Changed => What::Changed,
        Reply::Refused(..) => What::NoNumber,
    }
}

/// Returns the error of a reply that does not fit its command, and closes the connection where that says that its
/// replies are mixed up.
fn refused(reply: Reply, replies: &RawReplies) -> Error {
    let server = replies.connection.server();
    let (error, ends) = match reply {
        Reply::Refused(server_error, text) => {
            (server_error::error(server, server_error, text), server_error.ends_connection())
        }
        _ => (crate::net::protocol_error(server, "a reply to another command"), true),
    };
    if ends {
        replies.connection.kill(error.clone());
    }
    error
}

impl executor::Protocol for Call<'_> {
    type Node = Batch;
    type Target = ();
    type Reply = Received;
    const IMMEDIATE_RETRIES: u32 = 1;

    fn len(&self) -> usize {
        self.commands.len()
    }

    fn limit(&self) -> Duration {
        self.nodes.connection.timeout
    }

    fn only_node(&self) -> Option<Batch> {
        let is_one = self.commands.len() == 1 || self.nodes.all.len() == 1;
        if self.nodes.ejects || !is_one {
            return None;
        }
        let owner = self.owner(self.commands.first()?).ok()?;
        let commands = self.commands.len();
        // A command that stores nothing has no size that a server refuses.
        let fits = |command: &Command| !matches!(command, Command::Set { .. }) || self.owner(command).is_ok();
        let fit = self.commands[1..].iter().all(fits);
        let bytes = || self.commands.iter().map(Command::size).sum::<usize>();
        let has_room = commands == 1 || self.nodes.tls.is_none() || bytes() <= WITHIN_RECORD;
        let batch = || {
            let (number, listed) = (self.nodes.numbers(commands + 1), self.listed(owner, 0..commands));
            Batch { owner, number, epoch: self.nodes.era, bytes: 0, listed }
        };
        (fit && has_room).then(batch)
    }

    fn assign(&self, command: &Pending<()>, groups: &mut Vec<Group<Self>>) -> std::result::Result<usize, Unassigned> {
        let command = &self.commands[command.index];
        let owner = self.owner(command).map_err(Unassigned::Fail)?;
        let fits = |group: &Group<Self>| group.node.owner == owner && self.fits(group, command);
        let at = groups.iter().rposition(fits).unwrap_or_else(|| {
            let node = Batch { owner, number: 0, epoch: self.nodes.era, bytes: 0, listed: 0 };
            groups.push(Group { node, pending: Vec::new() });
            groups.len() - 1
        });
        groups[at].node.bytes += command.size();
        Ok(at)
    }

    /// Finds out the epoch that entries are written with, and whether lists read them.
    async fn prepare(&self, context: CallContext, group: &mut Group<Self>, end: Instant) -> Result<()> {
        let Batch { owner, .. } = group.node;
        group.node.number = self.nodes.numbers(group.pending.len() + 1);
        group.node.listed = self.listed(owner, group.pending.iter().map(|command| command.index));
        if !self.nodes.ejects {
            return Ok(());
        }
        let node = self.node(owner);
        group.node.epoch = match node.epochs.known(owner.kind) {
            Some(known) => known,
            None if self.writes(group) => {
                let counting = context.run_until(end, |part| epoch::count(part, self.nodes, node, owner.kind, 0));
                let late = || Err(context.timed_out(node.server.name(), self.limit()));
                counting.await.unwrap_or_else(late)?
            }
            None => 0,
        };
        Ok(())
    }

    fn server<'a>(&'a self, node: &'a Batch) -> &'a Server {
        &self.node(node.owner).server
    }

    fn encode<'a>(&'a self, group: &'a Group<Self>) -> Result<Request<'a>> {
        let (protocol, mut number) = (self.nodes.protocol, group.node.number);
        let commands = group.commands(self);
        let replies = u32::try_from(commands.len()).unwrap_or(u32::MAX) + u32::from(self.nodes.ejects);
        let mut bytes = Vec::with_capacity(commands.map(|command| self.commands[command.index].size()).sum());
        if group.node.listed > 0 {
            let names = group.commands(self).map(|command| self.commands[command.index].name());
            let replies = list::write(&mut bytes, number, group.node.listed, names);
            return Ok(Request { bytes: Cow::Owned(bytes), replies, once: !self.nodes.connection.retry_on_timeout });
        }
        if self.nodes.ejects {
            let name = names::epoch(&self.nodes.prefix, group.node.owner.kind);
            protocol.write(&mut bytes, number, &self.epoch_command(group, &name));
        }
        let mut once = !self.nodes.connection.retry_on_timeout;
        for command in group.commands(self) {
            number = number.wrapping_add(1);
            once |= !may_be_repeated(&self.commands[command.index]);
            let sent = self.with_epoch(command.index, group.node.epoch);
            if self.renews && command.is_retry {
                write_renewed(protocol, &mut bytes, number, &sent)?;
            } else {
                protocol.write(&mut bytes, number, &sent);
            }
        }
        Ok(Request { bytes: Cow::Owned(bytes), replies, once })
    }

    fn classify(&self, group: &Group<Self>, replies: RawReplies) -> Classified<Self> {
        let (replies, commands) = (Arc::new(replies), group.commands(self).len());
        let mut classified = Classified::new(commands);
        if let Err(mismatch) = self.decode(group, &replies, &mut classified) {
            // The last reply alone has the number of the request: without it no other reply to lists counts.
            if group.node.listed > 0 {
                classified = Classified::new(commands);
            }
            let error = crate::net::protocol_error(replies.connection.server(), mismatch.0);
            replies.connection.kill(error.clone());
            while classified.len() < commands {
                classified.set_back(error.clone(), Setback::Garbled);
            }
        }
        classified
    }

    fn may_retry(&self, index: usize, Failure { error, stage }: &Failure, _elapsed: Duration) -> bool {
        // A request that was not sent can be sent again, unless too much is in flight.
        if *stage == Stage::Unsent && error.kind() != ErrorKind::Busy {
            return true;
        }
        let command = &self.commands[index];
        self.nodes.connection.retry_on_timeout
            && may_be_repeated(command)
            && is_passing_loss(self.nodes, command, error)
    }

    fn is_once(&self, index: usize) -> bool {
        !may_be_repeated(&self.commands[index])
    }

    #[cold]
    fn late(&self, context: CallContext, index: usize) -> Error {
        let owner = self.nodes.owner(self.commands[index].name());
        let name = owner.map_or_else(|| self.nodes.name(), |owner| self.node(owner).server.name().to_owned());
        context.timed_out(&name, self.limit())
    }
}

/// Writes a command with another random number.
fn write_renewed(protocol: Codec, out: &mut Vec<u8>, number: u32, command: &Command) -> Result<()> {
    let random = random_number()?;
    match *command {
        Command::Count { name, add, .. } => protocol.write(out, number, &Command::Count { name, seed: random, add }),
        Command::Set { name, flags, expiry, condition, .. } => {
            let text = random.to_string();
            let bytes = text.as_bytes();
            protocol.write(out, number, &Command::Set { name, bytes, flags, expiry, condition });
        }
        ref other => protocol.write(out, number, other),
    }
    Ok(())
}

/// Returns whether a reply was lost to a passing failure: the command's server is not known to be down.
fn is_passing_loss(nodes: &Nodes, command: &Command, error: &Error) -> bool {
    let passing = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Protocol);
    let owner = nodes.owner(command.name());
    passing && owner.is_some_and(|owner| nodes.all[owner.node].server.failure().is_none())
}

/// Returns whether a command does no harm, and is answered the same, when it is done twice.
fn may_be_repeated(command: &Command) -> bool {
    match command {
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::GetMarked { .. }
        | Command::Inspect { .. }
        | Command::Mark { .. } => true,
        Command::Set { condition, .. } => *condition == Condition::Always,
        Command::Count { add, .. } => *add == 0,
        // It would answer that nothing was there.
        Command::Delete { .. } | Command::DeleteIf { .. } => false,
    }
}
