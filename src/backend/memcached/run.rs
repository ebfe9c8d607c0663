//! Running commands: sent to whoever has their names, together; checked; repeated where that is right.

use std::time::{Duration, Instant};

use super::command::{Command, Condition, Reply};
use super::fleet::{Fleet, Owner};
use super::guard;
use super::names::{self, Place};
use super::refusal::{self, Refusal};
use crate::backend::remote::Pairing;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::{Answer, Replies};

/// How often a command is tried again at most.
const RETRIES: u32 = 5;
/// The pause before the first, doubled for each that follows.
const PAUSE: Duration = Duration::from_millis(10);
/// What is kept of a call's time for each server that is still to be heard, so that one which is silent takes only its
/// share of the answers.
const KEPT: Duration = Duration::from_millis(50);

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
}

/// A command that has to be sent again, and why.
struct Again {
    index: usize,
    error: Error,
}

/// Runs commands; each gets its reply or its error.
pub async fn run(fleet: &Fleet, commands: &[Command<'_>], each: Each<'_>) {
    let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + fleet.timeout());
    let mut round = Round { fleet, commands, end, again: Vec::new() };
    let mut todo: Vec<usize> = (0..commands.len()).collect();
    for attempt in 0..=RETRIES {
        round.run(todo, each).await;
        if round.again.is_empty() {
            return;
        }
        if attempt == RETRIES || Instant::now() >= end {
            break;
        }
        if attempt > 0 {
            caller::pause(PAUSE * 2u32.pow(attempt.min(4))).await;
        }
        todo = round.again.drain(..).map(|again| again.index).collect();
    }
    for again in round.again {
        each(again.index, Err(again.error), 0);
    }
}

/// One attempt at all that is still to be done.
struct Round<'a> {
    fleet: &'a Fleet,
    commands: &'a [Command<'a>],
    end: Instant,
    again: Vec<Again>,
}

impl Round<'_> {
    async fn run(&mut self, todo: Vec<usize>, each: Each<'_>) {
        let mut groups = self.group(&todo, each);
        self.learn_guards(&mut groups, each).await;
        // All are sent before the first is waited for; those that cannot be sent now are waited for last.
        let mut sent: Vec<(Group, Option<Result<Answer>>)> =
            groups.into_iter().map(|group| self.send(&group)).collect();
        sent.sort_by_key(|(_, answer)| answer.is_none());
        let mut left = u32::try_from(sent.len()).unwrap_or(u32::MAX);
        for (group, sent) in sent {
            left -= 1;
            let end = self.end.checked_sub(KEPT.min(self.fleet.timeout() / 20) * left).unwrap_or(self.end);
            match self.answer(&group, sent, end).await {
                Ok(replies) => self.deliver(&group, &replies, each),
                Err((error, unsent)) => self.failed(&group.commands, &error, unsent, each),
            }
        }
    }

    fn group(&self, todo: &[usize], each: Each<'_>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for index in todo.iter().copied() {
            let owner = match self.owner(&self.commands[index]) {
                Ok(owner) => owner,
                Err(error) => {
                    each(index, Err(error), 0);
                    continue;
                }
            };
            match groups.iter_mut().find(|group| group.owner == owner) {
                Some(group) => group.commands.push(index),
                None => groups.push(Group { owner, commands: vec![index], number: 0, beside: 0 }),
            }
        }
        groups
    }

    fn owner(&self, command: &Command) -> Result<Owner> {
        let owner = self.fleet.owner(command.name()).ok_or_else(|| self.fleet.all_away())?;
        if let Command::Set { name, bytes, .. } = command {
            let member = &self.fleet.members[owner.member];
            member.traits.check_size(member.server.name(), name, bytes)?;
        }
        Ok(owner)
    }

    /// Finds out beside which guards will be written.
    async fn learn_guards(&mut self, groups: &mut Vec<Group>, each: Each<'_>) {
        if !self.fleet.ejects {
            return;
        }
        for group in std::mem::take(groups) {
            let member = &self.fleet.members[group.owner.member];
            let known = match member.guards.known(group.owner.place) {
                Some(known) => Ok(known),
                None if self.writes(&group) => {
                    let counting = guard::count(self.fleet, member, group.owner.place, 0);
                    caller::Until::new(self.end, &self.fleet.handle, counting).await.unwrap_or_else(|| Err(self.late(&group)))
                }
                None => Ok(0),
            };
            match known {
                Ok(beside) => groups.push(Group { beside, ..group }),
                Err(error) => self.failed(&group.commands, &error, false, each),
            }
        }
    }

    fn writes(&self, group: &Group) -> bool {
        group.commands.iter().any(|index| matches!(self.commands[*index], Command::Set { .. } | Command::Count { .. }))
    }

    /// Sends a group; no answer: its server is not connected now.
    fn send(&self, group: &Group) -> (Group, Option<Result<Answer>>) {
        let guards = usize::from(self.fleet.ejects);
        let number = self.fleet.numbers(group.commands.len() + guards);
        let mut request = Vec::with_capacity(64 * group.commands.len());
        let mut next = number;
        if self.fleet.ejects {
            let name = names::guard(&self.fleet.prefix, group.owner.place);
            self.fleet.protocol.write(&mut request, next, &self.guard(group, &name));
            next = next.wrapping_add(1);
        }
        for index in &group.commands {
            self.fleet.protocol.write(&mut request, next, &self.guarded(*index, group.beside));
            next = next.wrapping_add(1);
        }
        let replies = u32::try_from(group.commands.len() + guards).unwrap_or(u32::MAX);
        let answer = self.fleet.members[group.owner.member].server.send(&request, replies);
        (Group { owner: group.owner, commands: group.commands.clone(), number, beside: group.beside }, answer)
    }

    /// What reads a group's guard; one that is missing is made before anything is written beside it.
    fn guard<'n>(&self, group: &Group, name: &'n [u8]) -> Command<'n> {
        if self.writes(group) { Command::Count { name, seed: group.beside.into(), add: 0 } } else { Command::Get { name } }
    }

    /// A command as it is sent: with flags that are asked for, or its guard.
    fn guarded(&self, index: usize, beside: u32) -> Command<'_> {
        match self.commands[index] {
            Command::Get { name } if self.fleet.ejects => Command::GetMarked { name },
            Command::Set { name, bytes, flags: 0, expiry, condition } => {
                Command::Set { name, bytes, flags: beside, expiry, condition }
            }
            other => other,
        }
    }

    /// The replies to a group, or why there are none and whether nothing was sent.
    async fn answer(
        &self,
        group: &Group,
        sent: Option<Result<Answer>>,
        end: Instant,
    ) -> std::result::Result<Replies, (Error, bool)> {
        let waiting = async {
            let sent = match sent {
                Some(sent) => sent,
                None => {
                    let server = &self.fleet.members[group.owner.member].server;
                    // A server that is known to be down is not waited for.
                    server.connected().await.map_err(|error| (error, false))?;
                    return self.resend(group).await;
                }
            };
            let unsent = |error: Error| (error.clone(), error.kind() != ErrorKind::Busy);
            sent.map_err(unsent)?.await.map_err(|error| (error, false))
        };
        let answered = caller::Until::new(end, &self.fleet.handle, waiting).await;
        answered.unwrap_or_else(|| Err((self.late(group), false)))
    }

    async fn resend(&self, group: &Group) -> std::result::Result<Replies, (Error, bool)> {
        todo!()
    }
}
