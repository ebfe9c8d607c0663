//! Commands on channels: publish, subscribe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use yokedcache::cache::{CacheHandle, Subscription};
use yokedcache::error::{Error, ErrorKind};
use yokedcache::exec::blocking::{answer, wait};
use yokedcache::message::{Filter, Message};
use yokedcache::operation::{Operation, Outcome};

use super::entry::input;
use crate::arguments::{Publish, Subscribe};
use crate::bytes;
use crate::failure::{Exit, Result};
use crate::output::{Output, remark};
use crate::session::{Session, slices};

/// The time between two looks whether the subscription is interrupted.
const LOOK: Duration = Duration::from_secs(1);

/// Sends a message to the subscriptions of a channel.
pub fn publish(session: &mut Session, arguments: &Publish) -> Result<Exit> {
    let (channel, message) = (session.bytes(&arguments.channel)?, input(session, &arguments.message)?);
    let operation = Operation::Publish { channel: &channel, message: &message };
    let receivers = match answer(|context| session.cache.call(context, operation))? {
        Outcome::Received(number) => number,
        _ => None,
    };
    let text = || match receivers {
        Some(1) => "sent to 1 subscription".to_owned(),
        Some(number) => format!("sent to {number} subscriptions"),
        None => "sent; the number of subscriptions is unknown: a cluster does not count them".to_owned(),
    };
    session.output.say(text, || with_channel(&channel, "receivers", json!(receivers)))?;
    Ok(Exit::Done)
}

/// Writes the messages of channels.
pub fn subscribe(session: &mut Session, arguments: &Subscribe) -> Result<Exit> {
    let (channels, patterns) = (session.all_bytes(&arguments.channels)?, session.all_bytes(&arguments.patterns)?);
    let filter = Filter::new(&slices(&channels), &slices(&patterns), 0)?;
    let handle = Arc::new(CacheHandle::new(session.cache.clone()));
    let subscription = wait(|context| handle.subscribe(context, filter))?;
    if session.cache.answers_at_once() {
        remark(false, "no other process can publish to a cache in memory: name a server with --url");
    }
    remark(false, "subscribed");
    receive(session, &subscription, arguments.count, write)
}

/// Writes what a subscription or a reader of events receives, until it ends or has written `count` messages. Gaps do not
/// count.
pub fn receive(
    session: &mut Session,
    subscription: &Subscription,
    count: Option<u64>,
    write: impl Fn(&mut Output, &Message) -> Result<()>,
) -> Result<Exit> {
    let (mut left, mut was_interrupted) = (count.unwrap_or(u64::MAX), false);
    while left > 0 {
        match wait(|context| subscription.next(context, Some(Instant::now() + LOOK))) {
            Ok(Some(taken)) => {
                let message = taken.arrive();
                write(&mut session.output, &message)?;
                session.output.flush()?;
                left -= u64::from(!matches!(message, Message::Lost(_)));
                was_interrupted = false;
            }
            Ok(None) => was_interrupted = false,
            Err(error) if is_the_end(&error) => return Err(error.into()),
            Err(error) => {
                if !was_interrupted {
                    remark(false, &format!("interrupted: {error}"));
                }
                was_interrupted = true;
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns true if an error ends a subscription. After any other it continues.
fn is_the_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Closed | ErrorKind::Denied | ErrorKind::Unsupported)
}

/// Writes a message as a line. People read of a gap on the standard error.
fn write(output: &mut Output, message: &Message) -> Result<()> {
    match message {
        Message::Published { channel, data } => {
            output.say(|| format!("{}\t{}", bytes::shown(channel), bytes::shown(data)), || published(channel, data))
        }
        // A subscription receives no events.
        Message::Event(_) => Ok(()),
        Message::Lost(lost) if output.is_json() => output.say(String::new, || json!({ "lost": lost })),
        Message::Lost(lost) => {
            remark_lost("messages", *lost);
            Ok(())
        }
    }
}

/// Writes to the standard error that messages or events were lost.
pub fn remark_lost(name: &str, lost: Option<u64>) {
    match lost {
        Some(lost) => remark(false, &format!("{lost} {name} were lost here")),
        None => remark(false, &format!("{name} may have been lost here")),
    }
}

fn published(channel: &[u8], data: &[u8]) -> Json {
    let mut object = bytes::object("channel", channel);
    bytes::put(&mut object, "message", data);
    Json::Object(object)
}

fn with_channel(channel: &[u8], name: &str, value: Json) -> Json {
    let mut object = bytes::object("channel", channel);
    object.insert(name.to_owned(), value);
    Json::Object(object)
}
