//! Running commands: sent to whoever has their names, together; checked; repeated where that is right.

use std::time::Instant;

use super::command::{Command, Condition, Mismatch, Reply};
use super::fleet::{Fleet, Owner};
use super::guard;
use super::handshake::RECORD;
use super::names;
use super::protocol::meta;
use super::refusal::{self, Refusal};
use crate::backend::remote::Pairing;
use crate::backoff::Backoff;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{PendingReply, RawReplies};

/// The most attempts that may end with replies that violate the protocol: a pause does not help against them.
const GARBLED: u32 = 5;

/// Of a record, what is left beside the request for a guard.
const WITHIN_RECORD: usize = RECORD - 1024;
/// The longest command that may exceed that, beside one on the same name.
const FOLLOWER: usize = 512;

/// What becomes of each command: its reply, and the guard it counts with (0 where there are none).
pub type Each<'a> = &'a mut (dyn FnMut(usize, Result<Reply<'_>>, u32) -> Pairing + Send);

/// Commands for one server.
struct Group {
    owner: Owner,
    commands: Vec<usize>,
    /// The number of the first request.
    number: u32,
    /// What is written is written beside this guard.
    beside: u32,
    /// About how many bytes its request has.
    bytes: usize,
}

/// Why there are no replies.
struct Failure {
    error: Error,
    /// Nothing was sent, so that all of it may be sent again.
    unsent: bool,
}

/// Runs commands; each gets its reply or its error, at the deadline of the call at the latest.
pub async fn run(fleet: &Fleet, commands: &[Command<'_>], each: Each<'_>) {
    if let [only] = commands
        && !fleet.ejects
        && run_alone(fleet, only, each).await
    {
        return;
    }
    run_all(fleet, commands, true, each).await;
}

/// The same, and no command is sent again that a server may have got.
pub async fn run_unrepeated(fleet: &Fleet, commands: &[Command<'_>], each: Each<'_>) {
    run_all(fleet, commands, false, each).await;
}

/// The usual command, without lists; false if nothing came of it, and it has to be run in the long way.
async fn run_alone(fleet: &Fleet, command: &Command<'_>, each: Each<'_>) -> bool {
    let Some(owner) = fleet.owner(command.name()) else { return false };
    let member = &fleet.members[owner.member];
    if member.info.check_size(member.server.name(), command).is_err() {
        return false;
    }
    let (number, mut request) = (fleet.numbers(1), Vec::with_capacity(command.size()));
    fleet.protocol.write(&mut request, number, command);
    let repeats = fleet.connection.retry_on_timeout && may_be_repeated(command);
    // A command that must not be retried is not sent on a connection that the server has already closed.
    let sent = if repeats { member.server.send(&request, 1) } else { member.server.send_once(&request, 1) };
    let Some(Ok(answer)) = sent else { return false };
    let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + fleet.connection.timeout);
    let replies = match caller::Until::new(end, answer).await {
        Some(Ok(replies)) => replies,
        Some(Err(error)) => return failed_alone(fleet, command, error, each),
        None => {
            each(0, Err(caller::timed_out(member.server.name(), fleet.connection.timeout)), 0);
            return true;
        }
    };
    match fleet.protocol.read(&mut &*replies.bytes, number, command) {
        Ok(Reply::Refused(Refusal::Later, _)) => return false,
        Ok(reply) => hand_on(0, command, reply, 0, &replies, each),
        Err(mismatch) => {
            let error = crate::net::protocol_error(replies.connection.server(), mismatch.0);
            replies.connection.kill(error.clone());
            return failed_alone(fleet, command, error, each);
        }
    }
    true
}

/// Hands the error on, unless the command may be sent again.
fn failed_alone(fleet: &Fleet, command: &Command, error: Error, each: Each<'_>) -> bool {
    let again = may_be_repeated(command) && fleet.connection.retry_on_timeout;
    if !again {
        each(0, Err(error), 0);
    }
    !again
}

async fn run_all(fleet: &Fleet, commands: &[Command<'_>], repeats: bool, each: Each<'_>) {
    let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + fleet.connection.timeout);
    let repeats = repeats && fleet.connection.retry_on_timeout;
    let mut round =
        Round { fleet, commands, end, repeats, garbled: 0, pause: false, again: Vec::new(), reasons: Vec::new() };
    let mut todo: Vec<usize> = (0..commands.len()).collect();
    let mut backoff = Backoff::until(end);
    loop {
        if Instant::now() >= end {
            for index in todo {
                each(index, Err(round.late_for(index)), 0);
            }
            break;
        }
        round.run(&todo, each).await;
        let pause = std::mem::replace(&mut round.pause, true);
        if round.again.is_empty() || Instant::now() >= end || pause && !backoff.pause().await {
            break;
        }
        round.reasons = std::mem::take(&mut round.again);
        todo = round.reasons.iter().map(|(index, _)| *index).collect();
    }
    for (index, error) in round.again {
        each(index, Err(error), 0);
    }
}

/// One attempt at all that is still to be done.
struct Round<'a> {
    fleet: &'a Fleet,
    commands: &'a [Command<'a>],
    end: Instant,
    /// True if idempotent commands that a server may have received are retried.
    repeats: bool,
    /// The number of replies that violated the protocol.
    garbled: u32,
    /// True if there is a pause before the next attempt. The first retry has none.
    pause: bool,
    /// What has to be sent again, and why.
    again: Vec<(usize, Error)>,
    /// The commands of this attempt, each with the error for which it is retried.
    reasons: Vec<(usize, Error)>,
}

impl Round<'_> {
    async fn run(&mut self, todo: &[usize], each: Each<'_>) {
        let mut groups = self.group(todo, each);
        if self.fleet.ejects {
            groups = self.learn_guards(groups, each).await;
        }
        // All are sent before the first is waited for; those that cannot be sent now are waited for last.
        let mut sent: Vec<_> = groups.into_iter().map(|group| (self.send(&group), group)).collect();
        sent.sort_by_key(|(answer, _)| answer.is_none());
        let mut others = sent.len();
        for (answer, group) in sent {
            others -= 1;
            let end = caller::share(self.end, others, self.fleet.connection.timeout);
            match self.answer(&group, answer, end).await {
                Ok(replies) => self.deliver(&group, &replies, each),
                Err(failure) => self.failed(&group.commands, &failure, each),
            }
        }
    }

    fn group(&self, todo: &[usize], each: Each<'_>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for index in todo.iter().copied() {
            match self.owner(&self.commands[index]) {
                Err(error) => drop(each(index, Err(error), 0)),
                Ok(owner) => self.add(&mut groups, owner, index),
            }
        }
        for group in &mut groups {
            group.number = self.fleet.numbers(group.commands.len() + 1);
        }
        groups
    }

    fn add(&self, groups: &mut Vec<Group>, owner: Owner, index: usize) {
        let bytes = self.commands[index].size();
        // A removal goes with the look at what it removes, or another connection could be faster with it.
        let follows = |group: &Group| {
            let last = group.commands.last().map(|last| self.commands[*last].name());
            bytes <= FOLLOWER && last == Some(self.commands[index].name())
        };
        let fits = |group: &&mut Group| {
            let room = self.fleet.tls.is_none() || group.bytes + bytes <= WITHIN_RECORD || follows(group);
            group.owner == owner && room
        };
        match groups.iter_mut().rev().find(fits) {
            Some(group) => {
                group.commands.push(index);
                group.bytes += bytes;
            }
            None => groups.push(Group { owner, commands: vec![index], number: 0, beside: 0, bytes }),
        }
    }

    fn owner(&self, command: &Command) -> Result<Owner> {
        let owner = self.fleet.owner(command.name()).ok_or_else(|| self.fleet.all_away())?;
        let member = &self.fleet.members[owner.member];
        member.info.check_size(member.server.name(), command)?;
        Ok(owner)
    }

    /// Finds out beside which guards will be written.
    async fn learn_guards(&mut self, groups: Vec<Group>, each: Each<'_>) -> Vec<Group> {
        let mut ready = Vec::with_capacity(groups.len());
        for group in groups {
            match self.learn_guard(&group).await {
                Ok(beside) => ready.push(Group { beside, ..group }),
                Err(error) => self.failed(&group.commands, &Failure { error, unsent: false }, each),
            }
        }
        ready
    }

    async fn learn_guard(&self, group: &Group) -> Result<u32> {
        let member = &self.fleet.members[group.owner.member];
        match member.guards.known(group.owner.place) {
            Some(known) => Ok(known),
            None if self.writes(group) => {
                let counting = guard::count(self.fleet, member, group.owner.place, 0);
                let counted = caller::Until::new(self.end, counting).await;
                counted.unwrap_or_else(|| Err(self.late(group)))
            }
            None => Ok(0),
        }
    }

    fn writes(&self, group: &Group) -> bool {
        group.commands.iter().any(|index| matches!(self.commands[*index], Command::Set { .. } | Command::Count { .. }))
    }

    /// Sends a group; `None`: its server is not connected now.
    fn send(&self, group: &Group) -> Option<Result<PendingReply>> {
        let mut request = Vec::with_capacity(64 * group.commands.len());
        let mut number = group.number;
        if self.fleet.ejects {
            let name = names::guard(&self.fleet.prefix, group.owner.place);
            self.fleet.protocol.write(&mut request, number, &self.guard(group, &name));
        }
        for index in &group.commands {
            number = number.wrapping_add(1);
            self.fleet.protocol.write(&mut request, number, &self.guarded(*index, group.beside));
        }
        let replies = u32::try_from(group.commands.len()).unwrap_or(u32::MAX) + u32::from(self.fleet.ejects);
        let server = &self.fleet.members[group.owner.member].server;
        let may_repeat = |index: &usize| may_be_repeated(&self.commands[*index]);
        if self.repeats && group.commands.iter().all(may_repeat) {
            server.send(&request, replies)
        } else {
            // A command that must not be retried is not sent on a connection that the server has already closed.
            server.send_once(&request, replies)
        }
    }

    /// What reads a group's guard; one that is missing is made before anything is written beside it.
    fn guard<'n>(&self, group: &Group, name: &'n [u8]) -> Command<'n> {
        let seed = guard::after(group.beside);
        if self.writes(group) { Command::Count { name, seed, add: 0 } } else { Command::Peek { name } }
    }

    /// A command as it is sent: with flags that are asked for, or those of its guard.
    fn guarded(&self, index: usize, beside: u32) -> Command<'_> {
        match self.commands[index] {
            Command::Get { name } if self.fleet.ejects => Command::GetMarked { name },
            Command::Set { name, bytes, flags: 0, expiry, condition } => {
                Command::Set { name, bytes, flags: beside, expiry, condition }
            }
            other => other,
        }
    }

    /// The replies to a group.
    async fn answer(
        &self,
        group: &Group,
        sent: Option<Result<PendingReply>>,
        end: Instant,
    ) -> std::result::Result<RawReplies, Failure> {
        let waiting = async {
            let sent = match sent {
                Some(sent) => sent,
                None => self.send_when_connected(group).await?,
            };
            // What was not sent can be sent again, unless there is too much of it.
            let answer = sent.map_err(|error| Failure { unsent: error.kind() != ErrorKind::Busy, error })?;
            answer.await.map_err(|error| Failure { error, unsent: false })
        };
        let answered = caller::Until::new(end, waiting).await;
        answered.unwrap_or_else(|| Err(Failure { error: self.late(group), unsent: false }))
    }

    async fn send_when_connected(&self, group: &Group) -> std::result::Result<Result<PendingReply>, Failure> {
        let server = &self.fleet.members[group.owner.member].server;
        // A server that is known to be down is not waited for.
        server.connected().await.map_err(|error| Failure { error, unsent: false })?;
        Ok(self.send(group).unwrap_or_else(|| Err(guard::lost(&self.fleet.members[group.owner.member]))))
    }

    fn failed(&mut self, commands: &[usize], failure: &Failure, each: Each<'_>) {
        self.garbled += u32::from(failure.error.kind() == ErrorKind::Protocol);
        for index in commands {
            if failure.unsent || self.may_repeat(*index, &failure.error) {
                self.again.push((*index, failure.error.clone()));
            } else {
                // Why it had to wait says more than that its time was over.
                let why = self.reasons.iter().find(|(waited, error)| waited == index && error.is_passing());
                let why = why.filter(|_| failure.error.kind() == ErrorKind::Timeout).map(|(_, error)| error);
                each(*index, Err(why.unwrap_or(&failure.error).clone()), 0);
            }
        }
    }

    /// Whether a command whose answer was lost may be sent again.
    fn may_repeat(&self, index: usize, error: &Error) -> bool {
        let harmless = may_be_repeated(&self.commands[index]);
        harmless && self.repeats && self.garbled <= GARBLED && is_passing_loss(self.fleet, &self.commands[index], error)
    }

    fn deliver(&mut self, group: &Group, replies: &RawReplies, each: Each<'_>) {
        let mut rest = &*replies.bytes;
        let beside = if self.fleet.ejects { self.read_guard(group, &mut rest) } else { Ok(0) };
        let mut number = group.number;
        for (at, index) in group.commands.iter().enumerate() {
            number = number.wrapping_add(1);
            let reply = beside.as_ref().map_err(|mismatch| *mismatch);
            let sent = self.guarded(*index, group.beside);
            match reply.and_then(|beside| Ok((self.fleet.protocol.read(&mut rest, number, &sent)?, *beside))) {
                Ok((reply, beside)) => self.answered(*index, reply, beside, group, replies, each),
                Err(mismatch) => {
                    let error = crate::net::protocol_error(replies.connection.server(), mismatch.0);
                    replies.connection.kill(error.clone());
                    return self.failed(&group.commands[at..], &Failure { error, unsent: false }, each);
                }
            }
        }
    }

    /// The guard that a group's replies count with; 0: there is none, and nothing counts.
    fn read_guard(&self, group: &Group, replies: &mut &[u8]) -> std::result::Result<u32, Mismatch> {
        let name = names::guard(&self.fleet.prefix, group.owner.place);
        let number = match self.fleet.protocol.read(replies, group.number, &self.guard(group, &name))? {
            Reply::Number(number) => number,
            Reply::Value { bytes, .. } => meta::number(bytes).unwrap_or(0),
            _ => 0,
        };
        self.fleet.members[group.owner.member].guards.learn(group.owner.place, guard::short(number));
        Ok(guard::short(number))
    }

    fn answered(
        &mut self,
        index: usize,
        reply: Reply,
        beside: u32,
        group: &Group,
        replies: &RawReplies,
        each: Each<'_>,
    ) {
        match reply {
            Reply::Value { flags, .. } if self.is_outdated(index, flags, beside) => {
                each(index, Ok(Reply::Missing), beside);
            }
            Reply::Refused(Refusal::Later, text) => {
                self.pause = true;
                self.again.push((index, refusal::error(replies.connection.server(), Refusal::Later, text)));
            }
            Reply::Done if self.is_beside_another(index, beside, group) => {
                self.again.push((index, guard::changing(replies.connection.server())));
            }
            reply => hand_on(index, &self.guarded(index, group.beside), reply, beside, replies, each),
        }
    }

    /// Whether something was set beside a guard that has changed, or is not there.
    fn is_outdated(&self, index: usize, flags: u32, beside: u32) -> bool {
        let counts = matches!(self.commands[index], Command::Peek { .. }) || flags == beside;
        self.fleet.ejects && (beside == 0 || !counts)
    }

    /// Whether something was stored that nobody will read, since the guard has changed.
    fn is_beside_another(&self, index: usize, beside: u32, group: &Group) -> bool {
        matches!(self.commands[index], Command::Set { flags: 0, .. }) && beside != group.beside
    }

    #[cold]
    fn late_for(&self, index: usize) -> Error {
        let owner = self.fleet.owner(self.commands[index].name());
        let name = owner.map_or_else(|| self.fleet.name(), |it| self.fleet.members[it.member].server.name().to_owned());
        caller::timed_out(&name, self.fleet.connection.timeout)
    }

    #[cold]
    fn late(&self, group: &Group) -> Error {
        caller::timed_out(self.fleet.members[group.owner.member].server.name(), self.fleet.connection.timeout)
    }
}

/// Returns whether a reply was lost to a passing failure: the command's server is not known to be down.
pub fn is_passing_loss(fleet: &Fleet, command: &Command, error: &Error) -> bool {
    let passing = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Protocol);
    let owner = fleet.owner(command.name());
    passing && owner.is_some_and(|owner| fleet.members[owner.member].server.failure().is_none())
}

/// Whether it does no harm, and answers the same, when it is done twice.
fn may_be_repeated(command: &Command) -> bool {
    match command {
        Command::Get { .. } | Command::Peek { .. } | Command::GetMarked { .. } => true,
        Command::Set { condition, .. } => *condition == Condition::Always,
        Command::Count { add, .. } => *add == 0,
        // It would answer that nothing was there.
        Command::Delete { .. } => false,
    }
}

/// Hands a reply to whom it is for; what it says of the connection is seen to.
fn hand_on(index: usize, command: &Command, reply: Reply, beside: u32, replies: &RawReplies, each: Each<'_>) {
    let server = replies.connection.server();
    let pairing = match reply {
        reply if reply.fits(command) => each(index, Ok(reply), beside),
        Reply::Refused(refusal, text) => {
            let error = refusal::error(server, refusal, text);
            if refusal.ends_connection() {
                replies.connection.kill(error.clone());
            }
            each(index, Err(error), beside)
        }
        _ => {
            each(index, Err(crate::net::protocol_error(server, "a reply to another command")), beside);
            Pairing::Wrong
        }
    };
    if pairing == Pairing::Wrong {
        replies.connection.kill(crate::net::protocol_error(server, "the answer to another command"));
    }
}
