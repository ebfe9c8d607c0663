//! Runs commands: sends them together to the servers that own them, follows redirections, and retries within the
//! deadline of the call where that is right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commands::{Commands, Kind};
use super::refusal::{self, Refusal};
use super::resp::{RepliesOf, Reply};
use super::topology::Topology;
use crate::backend::remote::Pairing;
use crate::backoff::Backoff;
use crate::caller::{self, Until};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{PendingReply, RawReplies, Server};

/// The most redirections of a command: nodes that name each other form a loop.
const REDIRECTIONS: u8 = 16;
/// The redirections that are followed without a pause, as slots move. A pause precedes each further one.
const AT_ONCE: u8 = 5;
/// The most retries of a command after a reply that violates the protocol, or for which there is no memory: a pause
/// does not change the reply.
const GARBLED: u8 = 5;
/// The time that another node of a cluster has to take over from one that is known to be down.
const TAKE_OVER: Duration = Duration::from_millis(500);

/// Gets the outcome of each command: its reply, of the kind that the command promises. The reply may also be
/// WRONGTYPE, if the command takes that.
pub type EachReply<'a> = &'a mut (dyn FnMut(usize, Result<RepliesOf<'_>>) -> Pairing + Send);

/// The rules by which a store's commands are run.
#[derive(Clone, Copy)]
pub struct Policy {
    /// True if an idempotent command whose reply was lost or late is retried.
    pub repeat: bool,
    /// The time of a call; the end of this one where nothing else says it.
    pub limit: Duration,
}

/// A command that is to be sent.
#[derive(Clone)]
struct Todo {
    index: usize,
    /// Where it was redirected to, and whether for this once.
    to: Option<(Arc<Server>, bool)>,
    /// Why it is sent again.
    error: Option<Error>,
    /// True if a server may have received it before.
    sent: bool,
    redirections: u8,
    garbled: u8,
}

/// Commands for one server.
struct Group {
    server: Arc<Server>,
    todo: Vec<Todo>,
}

/// Why there are no replies.
struct Failure {
    error: Error,
    then: Then,
}

/// The reaction to a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Report,
    /// It is sent again.
    Repeat,
    /// The same, for as long as another server may take over.
    AwaitAnother,
}

/// Runs commands; each gets its reply or its error, at the deadline of the call at the latest.
pub async fn run(route: &Topology, commands: &Commands, policy: Policy, each: EachReply<'_>) {
    if commands.is_empty() {
        return;
    }
    let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + policy.limit);
    let (done, sent) = if policy.repeat { at_once(route, commands, end, policy, each).await } else { (0, false) };
    let first = |index| Todo { index, to: None, error: None, sent, redirections: 0, garbled: 0 };
    let mut todo: Vec<Todo> = (done..commands.len()).map(first).collect();
    let mut backoff = Backoff::until(end);
    let begun = Instant::now();
    while !todo.is_empty() {
        let again = Vec::new();
        let round = Round { route, commands, policy, end, begun, again, pause: false };
        let (again, pause) = round.run(todo, each).await;
        todo = again;
        if !todo.is_empty() && (Instant::now() >= end || pause && !backoff.pause().await) {
            break;
        }
    }
    for todo in todo {
        each(todo.index, Err(todo.error.unwrap_or_else(|| caller::timed_out(&route.name(), policy.limit))));
    }
}

/// The usual case without any lists: one server that is connected and refuses nothing. How many of the commands are
/// done, and whether the others, which are to be sent, were sent before.
async fn at_once(
    route: &Topology,
    commands: &Commands,
    end: Instant,
    policy: Policy,
    each: EachReply<'_>,
) -> (usize, bool) {
    let Some(server) = route.only_server().filter(|_| commands.kind != Kind::Once) else { return (0, false) };
    let replies = u32::try_from(commands.len()).unwrap_or(u32::MAX);
    let Some(Ok(answer)) = server.send(commands.bytes(), replies) else { return (0, false) };
    let replies = match Until::new(end, answer).await {
        Some(Ok(replies)) => replies,
        Some(Err(error)) if error.is_reply_too_long() && commands.can_be_split() => {
            return all_failed(commands, &error, each);
        }
        Some(Err(_)) => return (0, true),
        None => return all_failed(commands, &caller::timed_out(server.name(), policy.limit), each),
    };
    let mut rest = RepliesOf(&replies.bytes);
    for index in 0..commands.len() {
        let reply = rest.reply();
        match reply.clone().next() {
            Some(first) if commands.expected(index).fits(first) => drop_if_wrong(each(index, Ok(reply)), &replies),
            _ => return (index, true),
        }
    }
    (commands.len(), true)
}

#[cold]
fn all_failed(commands: &Commands, error: &Error, each: EachReply<'_>) -> (usize, bool) {
    for index in 0..commands.len() {
        each(index, Err(error.clone()));
    }
    (commands.len(), true)
}

/// One attempt at all that is still to be done.
struct Round<'a> {
    route: &'a Topology,
    commands: &'a Commands,
    policy: Policy,
    end: Instant,
    /// When the first of the attempts was made.
    begun: Instant,
    again: Vec<Todo>,
    pause: bool,
}

impl Round<'_> {
    /// Sends the commands, and returns those to retry and whether a pause comes first.
    async fn run(mut self, todo: Vec<Todo>, each: EachReply<'_>) -> (Vec<Todo>, bool) {
        let groups = self.group(todo);
        // All are sent before the first is waited for; those that cannot be sent now are waited for last.
        let mut sent: Vec<_> = groups.into_iter().map(|group| (self.send(&group), group)).collect();
        sent.sort_by_key(|(answer, _)| answer.is_none());
        let mut others = sent.len();
        for (answer, group) in sent {
            others -= 1;
            let end = caller::share(self.end, others, self.policy.limit);
            match self.answer(&group, answer, end).await {
                Ok(replies) => self.deliver(group, &replies, each),
                Err(failure) => self.failed(group, &failure, each),
            }
        }
        (self.again, self.pause)
    }

    fn group(&mut self, todo: Vec<Todo>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for mut todo in todo {
            let owner = || self.route.owner(self.commands.slot(todo.index), self.commands.kind == Kind::Read);
            let Some(server) = todo.to.as_ref().map(|to| Arc::clone(&to.0)).or_else(owner) else {
                self.route.mark_outdated();
                todo.error = Some(self.route.unknown().unwrap_or_else(unassigned));
                self.pause = true;
                self.again.push(todo);
                continue;
            };
            match groups.iter_mut().find(|group| Arc::ptr_eq(&group.server, &server)) {
                Some(group) => group.todo.push(todo),
                None => groups.push(Group { server, todo: vec![todo] }),
            }
        }
        groups
    }

    /// Sends a group; `None`: its server is not connected now.
    fn send(&self, group: &Group) -> Option<Result<PendingReply>> {
        let asking = group.todo.iter().filter(|todo| todo.is_asking()).count();
        let replies = u32::try_from(group.todo.len() + asking).unwrap_or(u32::MAX);
        let is_first = group.todo.iter().all(|todo| !todo.sent);
        if is_first && group.todo.len() == self.commands.len() {
            return self.send_bytes(&group.server, self.commands.bytes(), replies);
        }
        match self.bytes_of(group) {
            Ok(bytes) => self.send_bytes(&group.server, &bytes, replies),
            Err(error) => Some(Err(error)),
        }
    }

    fn bytes_of(&self, group: &Group) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for todo in &group.todo {
            if todo.is_asking() {
                super::resp::command(&mut bytes, &[b"ASKING"]);
            }
            if todo.sent {
                self.commands.write_again(todo.index, &mut bytes)?;
            } else {
                bytes.extend_from_slice(self.commands.command(todo.index));
            }
        }
        Ok(bytes)
    }

    /// Sends bytes. A command that must not be retried is not sent on a connection that the server has already closed.
    fn send_bytes(&self, server: &Server, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        if self.repeats_lost() { server.send(bytes, replies) } else { server.send_once(bytes, replies) }
    }

    fn repeats_lost(&self) -> bool {
        self.policy.repeat && self.commands.kind != Kind::Once
    }

    /// The replies to a group, or why there are none.
    async fn answer(
        &self,
        group: &Group,
        sent: Option<Result<PendingReply>>,
        end: Instant,
    ) -> std::result::Result<RawReplies, Failure> {
        let waiting = async {
            let sent = match sent {
                Some(sent) => sent,
                None => {
                    group.server.connected().await.map_err(|error| self.unreachable(error))?;
                    self.send(group).unwrap_or_else(|| Err(unconnected(&group.server)))
                }
            };
            // Commands that were not sent can be sent again, unless too much is in flight.
            let again = |error: &Error| if error.kind() == ErrorKind::Busy { Then::Report } else { Then::Repeat };
            let answer = sent.map_err(|error| Failure { then: again(&error), error })?;
            answer.await.map_err(|error| self.lost(error))
        };
        let late = || Failure { error: caller::timed_out(group.server.name(), self.policy.limit), then: Then::Report };
        Until::new(end, waiting).await.unwrap_or_else(|| Err(late()))
    }

    /// A server that is known to be down is not waited for; one that loads its data is.
    fn unreachable(&self, error: Error) -> Failure {
        let then = match error.kind() {
            _ if error.is_passing() => Then::Repeat,
            ErrorKind::Closed => Then::Report,
            _ if self.route.is_cluster() => Then::AwaitAnother,
            _ => Then::Report,
        };
        Failure { error, then }
    }

    fn lost(&self, error: Error) -> Failure {
        let too_long = error.is_reply_too_long() && self.commands.can_be_split();
        let again = self.repeats_lost() && error.kind() != ErrorKind::Closed && !too_long;
        Failure { error, then: if again { Then::Repeat } else { Then::Report } }
    }

    fn failed(&mut self, group: Group, failure: &Failure, each: EachReply<'_>) {
        self.route.mark_outdated();
        self.pause = true;
        let garbled = u8::from(matches!(failure.error.kind(), ErrorKind::Protocol | ErrorKind::Busy));
        let again = match failure.then {
            Then::Report => false,
            Then::Repeat => true,
            Then::AwaitAnother => self.begun.elapsed() < TAKE_OVER,
        };
        for mut todo in group.todo {
            if again && todo.garbled < GARBLED {
                (todo.to, todo.error, todo.sent) = (None, Some(failure.error.clone()), true);
                todo.garbled += garbled;
                self.again.push(todo);
            } else {
                // Why it had to wait says more than that its time was over.
                let why = todo.error.filter(|error| error.is_passing() && failure.error.kind() == ErrorKind::Timeout);
                each(todo.index, Err(why.unwrap_or_else(|| failure.error.clone())));
            }
        }
    }

    fn deliver(&mut self, group: Group, replies: &RawReplies, each: EachReply<'_>) {
        let mut rest = RepliesOf(&replies.bytes);
        for todo in group.todo {
            if todo.is_asking() {
                rest.reply();
            }
            let reply = rest.reply();
            match reply.clone().next() {
                Some(Reply::Error(text)) => self.refused(todo, &group.server, text, reply, each),
                Some(first) if self.commands.expected(todo.index).fits(first) => {
                    drop_if_wrong(each(todo.index, Ok(reply)), replies);
                }
                other => {
                    let what = if other.is_some() { "a reply to another command" } else { "too few replies" };
                    each(todo.index, Err(crate::net::protocol_error(group.server.name(), what)));
                    drop_if_wrong(Pairing::Wrong, replies);
                }
            }
        }
    }

    fn refused(&mut self, mut todo: Todo, server: &Arc<Server>, text: &[u8], reply: RepliesOf, each: EachReply<'_>) {
        let refusal = refusal::refusal(text);
        let error = refusal::error(server.name(), text);
        match refusal {
            // Bytes that are not ours are there to be read; nothing was written.
            Refusal::WrongType if self.commands.expected(todo.index).takes_other_types() => {
                each(todo.index, Ok(reply));
                return;
            }
            Refusal::WrongType | Refusal::Final => {
                each(todo.index, Err(error));
                return;
            }
            Refusal::Moved(_) | Refusal::Ask(_) if todo.redirections >= REDIRECTIONS => {
                each(todo.index, Err(redirected_in_vain(server, &error)));
                return;
            }
            Refusal::Moved(to) | Refusal::Ask(to) => {
                todo.to = self.route.redirected(to, server).map(|to| (to, matches!(refusal, Refusal::Ask(_))));
                todo.redirections += 1;
                self.pause |= todo.to.is_none() || todo.redirections > AT_ONCE;
                if matches!(refusal, Refusal::Moved(_)) {
                    self.route.mark_outdated();
                }
            }
            Refusal::Later => {
                self.pause = true;
                self.route.mark_outdated();
                todo.to = None;
            }
            Refusal::Elsewhere => {
                self.pause = true;
                self.route.mark_outdated();
                server.reconnect(&error);
                todo.to = None;
            }
        }
        (todo.error, todo.sent) = (Some(error), true);
        self.again.push(todo);
    }
}

impl Todo {
    fn is_asking(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.1)
    }
}

/// Replies that are mixed up are not the last ones.
fn drop_if_wrong(pairing: Pairing, replies: &RawReplies) {
    if pairing == Pairing::Wrong {
        let server = replies.connection.server();
        replies.connection.kill(crate::net::protocol_error(server, "the answer to another command"));
    }
}

#[cold]
fn redirected_in_vain(server: &Server, last: &Error) -> Error {
    let text = format!("{}: too many redirections, the last was: {last}", server.name());
    Error::new(ErrorKind::Server, text).passing()
}

#[cold]
fn unassigned() -> Error {
    let text = "no node of the cluster serves this slot now: the cluster is incomplete or failing over";
    Error::new(ErrorKind::Server, text).passing()
}

#[cold]
fn unconnected(server: &Server) -> Error {
    Error::new(ErrorKind::Connect, format!("{}: the connection was lost again", server.name()))
}
