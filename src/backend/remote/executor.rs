//! Executes the commands of a call: groups them by node, sends every group, awaits the replies, classifies each of them,
//! and retries within the deadline of the call. `Protocol` has what differs between protocols.
//!
//! ```text
//! fast_path   one node has all commands, and none is refused: no lists
//! Execution   attempt (group → prepare → send → await → classify) → Backoff → attempt …
//! ```

use std::borrow::Cow;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::{CallContext, share};
use crate::net::{PendingReply, RawReplies, Server};

/// The most redirections of a command: nodes that name each other form a loop.
const REDIRECTIONS: u8 = 16;
/// The redirections that are followed without a pause, as slots move. A pause precedes each further one.
const IMMEDIATE_REDIRECTIONS: u8 = 5;
/// The most retries of a command after a reply that violates the protocol, or for which there is no memory: a pause
/// does not change the reply.
const GARBLED: u8 = 5;

/// The outcome of each command or name, in the order of the request. A single one needs no allocation.
pub type Outcomes<T> = SmallVec<[Result<T>; 1]>;

/// The commands of one call, in the protocol of their servers.
pub trait Protocol: Sized + Sync {
    /// A server, with what all commands of a group share.
    type Node: Send + Sync;
    /// The node that a command was redirected to; the default is the node that owns the command.
    type Target: Default + Send + Sync;
    /// The reply to a command that its server carried out.
    type Reply: Send;
    /// The number of attempts after whose failure no pause comes.
    const IMMEDIATE_RETRIES: u32;

    /// Returns the number of commands.
    fn len(&self) -> usize;
    /// Returns the time limit of a call.
    fn limit(&self) -> Duration;
    /// Returns the node of all commands, if one has them and nothing has to be learned before they are sent.
    fn only_node(&self) -> Option<Self::Node>;
    /// Chooses the group of a command; adds the group if it is missing.
    fn assign(
        &self,
        command: &Pending<Self::Target>,
        groups: &mut Vec<Group<Self>>,
    ) -> std::result::Result<usize, Unassigned>;
    /// Learns what a group has to be sent with.
    fn prepare(
        &self,
        _context: CallContext,
        _group: &mut Group<Self>,
        _end: Instant,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Returns the server of a node.
    fn server<'a>(&'a self, node: &'a Self::Node) -> &'a Server;
    /// Encodes a group.
    fn encode<'a>(&'a self, group: &'a Group<Self>) -> Result<Request<'a>>;
    /// Decodes the replies to a group, and decides what becomes of each command.
    fn classify(&self, group: &Group<Self>, replies: RawReplies) -> Classified<Self>;
    /// Returns whether a command is retried after a failure; `elapsed` is the time since the first attempt.
    fn may_retry(&self, index: usize, failure: &Failure, elapsed: Duration) -> bool;
    /// Returns whether a command could be answered otherwise if it were executed twice. If its reply is lost, the caller
    /// learns that the command may have been executed.
    fn is_once(&self, _index: usize) -> bool {
        false
    }
    /// Takes note of a failure.
    fn failed(&self) {}
    /// Returns the error of a command that was not done in time.
    fn late(&self, context: CallContext, index: usize) -> Error;
}

/// A command that is to be sent.
pub struct Pending<T> {
    pub index: usize,
    /// True if a server may have received it before.
    pub is_retry: bool,
    pub target: T,
    /// The reason for the retry.
    error: Option<Error>,
    redirections: u8,
    garbled: u8,
}

/// Commands for one node, sent together.
pub struct Group<P: Protocol> {
    pub node: P::Node,
    /// Empty: all commands of the call, for the first time.
    pub pending: Vec<Pending<P::Target>>,
}

/// A command as a group has it.
pub struct Grouped<'a, T> {
    pub index: usize,
    pub is_retry: bool,
    /// `None`: the owner.
    pub target: Option<&'a T>,
}

impl<P: Protocol> Group<P> {
    /// Returns the commands of the group, in their order.
    pub fn commands(&self, protocol: &P) -> impl ExactSizeIterator<Item = Grouped<'_, P::Target>> {
        let number = if self.pending.is_empty() { protocol.len() } else { self.pending.len() };
        (0..number).map(|at| match self.pending.get(at) {
            Some(pending) => {
                Grouped { index: pending.index, is_retry: pending.is_retry, target: Some(&pending.target) }
            }
            None => Grouped { index: at, is_retry: false, target: None },
        })
    }

    /// Returns whether the group has all commands of the call, and none was sent before.
    pub fn is_whole(&self, protocol: &P) -> bool {
        let is_new = || self.pending.iter().all(|pending| !pending.is_retry);
        self.pending.is_empty() || self.pending.len() == protocol.len() && is_new()
    }
}

/// An encoded group.
pub struct Request<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub replies: u32,
    /// True if it must not be sent on a connection that the server has already closed, since it cannot be retried.
    pub once: bool,
}

/// The reason why no node has a command now.
pub enum Unassigned {
    /// One may have it soon.
    Retry(Error),
    Fail(Error),
}

/// A group without replies.
pub struct Failure {
    pub error: Error,
    pub stage: Stage,
}

/// The stage at which a group failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The group was not sent: its commands could not be prepared, for example because the limit of a server is unknown.
    Unprepared,
    /// Its server is known to be down.
    Unreachable,
    /// It was not sent.
    Unsent,
    /// It was sent, and its replies were lost.
    Lost,
    /// The replies did not arrive in time.
    Late,
}

/// The decoded replies to a group.
pub struct Classified<P: Protocol> {
    /// One for each command of the group.
    outcomes: Outcomes<P::Reply>,
    /// The commands that are retried, by their place in the group; their outcome is the reason.
    setbacks: Vec<(usize, Setback<P::Target>)>,
}

/// The reaction to a reply that is not the last word on its command.
pub enum Setback<T> {
    /// The command is sent again to its owner.
    Retry { pause: bool },
    /// The command is sent to this node; `None`: to its owner, after a pause.
    Redirect(Option<T>),
    /// The reply cannot be read: it counts as lost.
    Garbled,
}

impl<P: Protocol> Classified<P> {
    /// Creates a list for the commands of a group.
    pub fn new(commands: usize) -> Self {
        Self { outcomes: SmallVec::with_capacity(commands), setbacks: Vec::new() }
    }

    /// Returns the number of commands that were added.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Adds the final outcome of the next command.
    pub fn push(&mut self, outcome: Result<P::Reply>) {
        self.outcomes.push(outcome);
    }

    /// Returns true if the last command that was added is retried.
    pub fn has_set_back_last(&self) -> bool {
        self.setbacks.last().is_some_and(|(place, _)| place + 1 == self.outcomes.len())
    }

    /// Adds a command that is retried, and the reason.
    pub fn set_back(&mut self, error: Error, setback: Setback<P::Target>) {
        self.setbacks.push((self.outcomes.len(), setback));
        self.outcomes.push(Err(error));
    }
}

/// Executes commands. Each has its outcome at the deadline of the call at the latest.
pub async fn execute<P: Protocol>(context: CallContext, protocol: &P) -> Outcomes<P::Reply> {
    if protocol.len() == 0 {
        return Outcomes::new();
    }
    let end = context.end_or(protocol.limit());
    match fast_path(context, protocol, end).await {
        FastPath::Done(outcomes) => outcomes,
        // Boxed, as it is rare: a caller may have a small stack.
        FastPath::Continue(execution) => Box::pin(execution.run()).await,
    }
}

enum FastPath<'a, P: Protocol> {
    Done(Outcomes<P::Reply>),
    Continue(Box<Execution<'a, P>>),
}

/// Executes commands of one node that is connected. Commands that have to be retried continue as an execution.
async fn fast_path<P: Protocol>(context: CallContext, protocol: &P, end: Instant) -> FastPath<'_, P> {
    let all = || Box::new(Execution::new(context, protocol, end));
    let Some(node) = protocol.only_node() else { return FastPath::Continue(all()) };
    let group = Group { node, pending: Vec::new() };
    let Some(Ok(answer)) = send(context, protocol, &group) else { return FastPath::Continue(all()) };
    let failure = match context.run_until(end, |part| answer.within(part)).await {
        Some(Ok(replies)) => {
            let classified = protocol.classify(&group, replies);
            if classified.setbacks.is_empty() {
                return FastPath::Done(classified.outcomes);
            }
            let mut execution = all();
            let pending = std::mem::take(&mut execution.pending);
            execution.settle(&group.node, pending, classified);
            return FastPath::Continue(execution);
        }
        Some(Err(error)) => Failure { error, stage: Stage::Lost },
        None => late(context, protocol, &group),
    };
    let mut execution = all();
    let pending = std::mem::take(&mut execution.pending);
    execution.fail_all(pending, &failure);
    FastPath::Continue(execution)
}

/// Sends a group; `None`: its server is not connected now.
fn send<P: Protocol>(context: CallContext, protocol: &P, group: &Group<P>) -> Option<Result<PendingReply>> {
    let server = protocol.server(&group.node);
    match protocol.encode(group) {
        Ok(Request { bytes, replies, once: false }) => server.send(context, &bytes, replies),
        Ok(Request { bytes, replies, once: true }) => server.send_once(context, &bytes, replies),
        Err(error) => Some(Err(error)),
    }
}

#[cold]
fn late<P: Protocol>(context: CallContext, protocol: &P, group: &Group<P>) -> Failure {
    let error = context.timed_out(protocol.server(&group.node).name(), protocol.limit());
    Failure { error, stage: Stage::Late }
}

/// Commands of which some are not done yet.
struct Execution<'a, P: Protocol> {
    context: CallContext,
    protocol: &'a P,
    begun: Instant,
    end: Instant,
    /// The number of attempts so far, without the fast path.
    attempts: u32,
    /// True if a pause comes before the next attempt.
    pause: bool,
    pending: Vec<Pending<P::Target>>,
    outcomes: Vec<Option<Result<P::Reply>>>,
}

impl<'a, P: Protocol> Execution<'a, P> {
    #[cold]
    fn new(context: CallContext, protocol: &'a P, end: Instant) -> Self {
        let pending = |index| Pending {
            index,
            is_retry: false,
            target: P::Target::default(),
            error: None,
            redirections: 0,
            garbled: 0,
        };
        let commands = 0..protocol.len();
        Self {
            // Several nodes reply: none of them must wait until another one has.
            context: context.not_driven(),
            protocol,
            begun: Instant::now(),
            end,
            attempts: 0,
            pause: false,
            pending: commands.clone().map(pending).collect(),
            outcomes: commands.map(|_| None).collect(),
        }
    }

    async fn run(mut self: Box<Self>) -> Outcomes<P::Reply> {
        let mut backoff = Backoff::until(self.context, self.end);
        while !self.pending.is_empty() && Instant::now() < self.end {
            if std::mem::take(&mut self.pause) && !backoff.pause().await {
                break;
            }
            self.attempt().await;
        }
        (*self).finish()
    }

    /// Sends all commands that are pending, and settles those that are answered.
    async fn attempt(&mut self) {
        self.attempts += 1;
        let groups = self.group();
        let groups = self.prepare(groups).await;
        // All are sent before the first is waited for; those that cannot be sent now are waited for last.
        let mut sent: Vec<_> =
            groups.into_iter().map(|group| (send(self.context, self.protocol, &group), group)).collect();
        sent.sort_by_key(|(answer, _)| answer.is_none());
        let mut others = sent.len();
        for (answer, group) in sent {
            others -= 1;
            let end = share(self.end, others, self.protocol.limit());
            match self.replies(&group, answer, end).await {
                Ok(replies) => {
                    let classified = self.protocol.classify(&group, replies);
                    self.settle(&group.node, group.pending, classified);
                }
                Err(failure) => self.fail_all(group.pending, &failure),
            }
        }
    }

    fn group(&mut self) -> Vec<Group<P>> {
        let mut groups = Vec::new();
        for command in std::mem::take(&mut self.pending) {
            match self.protocol.assign(&command, &mut groups) {
                Ok(group) => groups[group].pending.push(command),
                Err(Unassigned::Fail(error)) => self.outcomes[command.index] = Some(Err(error)),
                Err(Unassigned::Retry(error)) => {
                    self.pause = true;
                    self.pending.push(Pending { error: Some(error), ..command });
                }
            }
        }
        groups
    }

    async fn prepare(&mut self, groups: Vec<Group<P>>) -> Vec<Group<P>> {
        let mut ready = Vec::with_capacity(groups.len());
        for mut group in groups {
            match self.protocol.prepare(self.context, &mut group, self.end).await {
                Ok(()) => ready.push(group),
                Err(error) => self.fail_all(group.pending, &Failure { error, stage: Stage::Unprepared }),
            }
        }
        ready
    }

    /// Awaits the replies to a group, which may have to be sent first.
    async fn replies(
        &self,
        group: &Group<P>,
        sent: Option<Result<PendingReply>>,
        end: Instant,
    ) -> std::result::Result<RawReplies, Failure> {
        let failure = |stage| move |error| Failure { error, stage };
        let waiting = |part| async move {
            let sent = match sent {
                Some(sent) => sent,
                None => {
                    let server = self.protocol.server(&group.node);
                    server.connected().await.map_err(failure(Stage::Unreachable))?;
                    send(part, self.protocol, group).unwrap_or_else(|| Err(unconnected(server)))
                }
            };
            sent.map_err(failure(Stage::Unsent))?.within(part).await.map_err(failure(Stage::Lost))
        };
        let waited = self.context.run_until(end, waiting).await;
        waited.unwrap_or_else(|| Err(late(self.context, self.protocol, group)))
    }

    fn settle(&mut self, node: &P::Node, pending: Vec<Pending<P::Target>>, classified: Classified<P>) {
        let mut setbacks = classified.setbacks.into_iter().peekable();
        for (at, (command, outcome)) in pending.into_iter().zip(classified.outcomes).enumerate() {
            match (setbacks.next_if(|(place, _)| *place == at), outcome) {
                (Some((_, setback)), Err(error)) => self.set_back(node, command, error, setback),
                (_, outcome) => self.outcomes[command.index] = Some(outcome),
            }
        }
    }

    fn set_back(&mut self, node: &P::Node, mut command: Pending<P::Target>, error: Error, setback: Setback<P::Target>) {
        match setback {
            Setback::Garbled => return self.fail(command, &Failure { error, stage: Stage::Lost }),
            Setback::Redirect(_) if command.redirections >= REDIRECTIONS => {
                let error = redirected_in_vain(self.protocol.server(node), &error);
                self.outcomes[command.index] = Some(Err(error));
                return;
            }
            Setback::Redirect(target) => {
                command.redirections += 1;
                self.pause |= target.is_none() || command.redirections > IMMEDIATE_REDIRECTIONS;
                command.target = target.unwrap_or_default();
            }
            Setback::Retry { pause } => {
                self.pause |= pause || self.attempts > P::IMMEDIATE_RETRIES;
                command.target = P::Target::default();
            }
        }
        self.pending.push(Pending { error: Some(error), is_retry: true, ..command });
    }

    fn fail_all(&mut self, pending: Vec<Pending<P::Target>>, failure: &Failure) {
        self.protocol.failed();
        pending.into_iter().for_each(|command| self.fail(command, failure));
    }

    fn fail(&mut self, mut command: Pending<P::Target>, failure: &Failure) {
        self.pause |= self.attempts > P::IMMEDIATE_RETRIES;
        if command.garbled < GARBLED && self.protocol.may_retry(command.index, failure, self.begun.elapsed()) {
            command.garbled += u8::from(matches!(failure.error.kind(), ErrorKind::Protocol | ErrorKind::Busy));
            (command.target, command.is_retry) = (P::Target::default(), true);
            command.error = Some(failure.error.clone());
            self.pending.push(command);
            return;
        }
        // The reason for the retry says more than that the time was over.
        let is_late = failure.error.kind() == ErrorKind::Timeout;
        let reason = command.error.filter(|error| is_late && error.is_passing());
        let error = reason.unwrap_or_else(|| failure.error.clone());
        let is_lost = matches!(failure.stage, Stage::Lost | Stage::Late);
        let once = self.protocol.is_once(command.index);
        self.outcomes[command.index] = Some(Err(if is_lost { error.of_lost_reply(once) } else { error }));
    }

    fn finish(self) -> Outcomes<P::Reply> {
        let Self { context, protocol, pending, mut outcomes, .. } = self;
        for command in pending {
            outcomes[command.index] = command.error.map(Err);
        }
        let late = |index| Err(protocol.late(context, index));
        outcomes.into_iter().enumerate().map(|(index, outcome)| outcome.unwrap_or_else(|| late(index))).collect()
    }
}

#[cold]
fn redirected_in_vain(server: &Server, last: &Error) -> Error {
    let text = format!("{}: too many redirections, the last was: {last}", server.name());
    Error::new(ErrorKind::Server, text).passing()
}

#[cold]
fn unconnected(server: &Server) -> Error {
    Error::new(
        ErrorKind::Connect,
        format!("{}: the connection was lost again: check the server and the network", server.name()),
    )
}

#[cfg(test)]
mod tests;
