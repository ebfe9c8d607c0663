//! Running commands: sent to whoever has them, together; followed where the servers say; repeated where that is right.

use std::sync::Arc;
use std::time::Duration;

use super::commands::{Commands, Kind};
use super::refusal::{self, Refusal};
use super::resp::{RepliesOf, Reply};
use super::route::Route;
use crate::backend::remote::Pairing;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::{Answer, Replies, Server};

/// How often a command is tried again at most.
const RETRIES: u32 = 5;
/// The pause before the first, doubled for each that follows.
const PAUSE: Duration = Duration::from_millis(10);

/// What becomes of each command: its reply, whose first element is never an error but a wrong type's.
pub type EachReply<'a> = &'a mut (dyn FnMut(usize, Result<RepliesOf<'_>>) -> Pairing + Send);

/// A command that is to be sent.
#[derive(Clone)]
struct Todo {
    index: usize,
    /// Where it was redirected to, and whether for this once.
    to: Option<(Arc<Server>, bool)>,
    /// Why it is sent again.
    error: Option<Error>,
}

/// Commands for one server.
struct Group {
    server: Arc<Server>,
    todo: Vec<Todo>,
}

/// Runs commands; each gets its reply or its error.
pub async fn run(route: &Route, commands: &Commands, repeat_lost: bool, each: EachReply<'_>) {
    let first = |index| Todo { index, to: None, error: None };
    if commands.is_empty() {
        return;
    }
    let done = if repeat_lost { at_once(route, commands, each).await } else { 0 };
    let mut todo: Vec<Todo> = (done..commands.len()).map(first).collect();
    if todo.is_empty() {
        return;
    }
    for attempt in 0..=RETRIES {
        let last = attempt == RETRIES;
        todo = Round { route, commands, repeat_lost, again: Vec::new(), pause: false }.run(todo, last, each).await;
        if todo.is_empty() {
            return;
        }
    }
}

/// The usual case without any lists: one server that is connected and refuses
/// nothing. How many of the commands are done; the others are to be sent (again).
async fn at_once(route: &Route, commands: &Commands, each: EachReply<'_>) -> usize {
    let server = match route {
        Route::Alone { primary, replica: None } if commands.kind != Kind::Once => primary,
        _ => return 0,
    };
    let replies = u32::try_from(commands.len()).unwrap_or(u32::MAX);
    let Some(Ok(answer)) = server.send(commands.bytes(), replies) else { return 0 };
    let Ok(replies) = answer.await else { return 0 };
    let mut rest = RepliesOf(&replies.bytes);
    for index in 0..commands.len() {
        let reply = rest.reply();
        match reply.clone().next() {
            Some(Reply::Error(_)) | None => return index,
            Some(_) => drop_if_wrong(each(index, Ok(reply)), &replies),
        }
    }
    commands.len()
}

/// One attempt at all that is still to be done.
struct Round<'a> {
    route: &'a Route,
    commands: &'a Commands,
    /// Whether a command is sent again when its answer was lost or late.
    repeat_lost: bool,
    again: Vec<Todo>,
    pause: bool,
}

impl Round<'_> {
    async fn run(mut self, todo: Vec<Todo>, last: bool, each: EachReply<'_>) -> Vec<Todo> {
        let attempt = todo.iter().filter(|todo| todo.error.is_some()).count();
        let groups = self.group(todo);
        // All are sent before the first is waited for.
        let sent: Vec<_> = groups.iter().map(|group| self.send(group)).collect();
        for (group, sent) in groups.into_iter().zip(sent) {
            match self.answer(&group, sent).await {
                Ok(replies) => self.deliver(group, &replies, each),
                Err((error, repeat)) => self.failed(group, &error, repeat, each),
            }
        }
        if last {
            for todo in self.again.drain(..) {
                let error = todo.error.unwrap_or_else(|| Error::new(ErrorKind::Server, "too many redirections"));
                each(todo.index, Err(error));
            }
        } else if self.pause {
            caller::pause(PAUSE * 2u32.saturating_pow(u32::try_from(attempt.min(4)).unwrap_or(4))).await;
        }
        self.again
    }

    fn group(&mut self, todo: Vec<Todo>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for mut todo in todo {
            let owner = || self.route.owner(self.commands.slot(todo.index), self.commands.kind == Kind::Read);
            let Some(server) = todo.to.as_ref().map(|to| Arc::clone(&to.0)).or_else(owner) else {
                self.route.mark_outdated();
                todo.error = Some(unassigned());
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
    fn send(&self, group: &Group) -> Option<Result<Answer>> {
        let replies = u32::try_from(group.todo.len()).unwrap_or(u32::MAX);
        let asking = group.todo.iter().filter(|todo| todo.is_asking()).count();
        if asking == 0 && group.todo.len() == self.commands.len() {
            return group.server.send(self.commands.bytes(), replies);
        }
        let mut bytes = Vec::new();
        for todo in &group.todo {
            if todo.is_asking() {
                super::resp::command(&mut bytes, &[b"ASKING"]);
            }
            bytes.extend_from_slice(self.commands.command(todo.index));
        }
        group.server.send(&bytes, replies + u32::try_from(asking).unwrap_or(0))
    }

    /// The replies to a group, or why there are none and whether it may be sent again.
    async fn answer(&self, group: &Group, sent: Option<Result<Answer>>) -> std::result::Result<Replies, (Error, bool)> {
        let sent = match sent {
            Some(sent) => sent,
            None => {
                // A server that is known to be down is not waited for.
                group.server.connected().await.map_err(|error| (error, self.route.is_cluster()))?;
                self.send(group).unwrap_or_else(|| Err(unconnected(&group.server)))
            }
        };
        // What was not sent can be sent again, unless there is too much of it.
        let answer = sent.map_err(|error| (error.clone(), error.kind() != ErrorKind::Busy))?;
        let repeat = self.repeat_lost && self.commands.kind != Kind::Once;
        answer.await.map_err(|error| (error.clone(), repeat && error.kind() != ErrorKind::Closed))
    }

    fn failed(&mut self, group: Group, error: &Error, repeat: bool, each: EachReply<'_>) {
        self.route.mark_outdated();
        self.pause = true;
        for mut todo in group.todo {
            if repeat {
                (todo.to, todo.error) = (None, Some(error.clone()));
                self.again.push(todo);
            } else {
                each(todo.index, Err(error.clone()));
            }
        }
    }

    fn deliver(&mut self, group: Group, replies: &Replies, each: EachReply<'_>) {
        let mut rest = RepliesOf(&replies.bytes);
        for todo in group.todo {
            if todo.is_asking() {
                rest.reply();
            }
            let reply = rest.reply();
            match reply.clone().next() {
                Some(Reply::Error(text)) => self.refused(todo, &group.server, text, reply, each),
                Some(_) => drop_if_wrong(each(todo.index, Ok(reply)), replies),
                None => drop_if_wrong(
                    each(todo.index, Err(crate::wire::protocol(group.server.name(), "too few replies"))),
                    replies,
                ),
            }
        }
    }

    fn refused(&mut self, mut todo: Todo, server: &Arc<Server>, text: &[u8], reply: RepliesOf, each: EachReply<'_>) {
        let refusal = refusal::refusal(text);
        let error = || refusal::error(server.name(), text);
        match refusal {
            Refusal::WrongType => {
                each(todo.index, Ok(reply));
                return;
            }
            Refusal::Final => {
                each(todo.index, Err(error()));
                return;
            }
            Refusal::Moved(to) | Refusal::Ask(to) => {
                todo.to = self.route.redirected(to, server).map(|to| (to, matches!(refusal, Refusal::Ask(_))));
                self.pause |= todo.to.is_none();
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
                server.reconnect(&error());
                todo.to = None;
            }
        }
        todo.error = Some(error());
        self.again.push(todo);
    }
}

impl Todo {
    fn is_asking(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.1)
    }
}

/// Replies that are mixed up are not the last ones.
fn drop_if_wrong(pairing: Pairing, replies: &Replies) {
    if pairing == Pairing::Wrong {
        let server = replies.connection.server();
        replies.connection.kill(crate::wire::protocol(server, "the entry of another name"));
    }
}

#[cold]
fn unassigned() -> Error {
    Error::new(
        ErrorKind::Server,
        "no node of the cluster serves this slot now: the cluster is incomplete or failing over",
    )
}

#[cold]
fn unconnected(server: &Server) -> Error {
    Error::new(ErrorKind::Connect, format!("{}: the connection was lost again", server.name()))
}
