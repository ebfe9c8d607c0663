//! Runs the commands; each file holds related ones.

mod bench;
mod channel;
mod check;
mod completions;
mod entry;
mod events;
mod explain;
mod health;
mod invalidate;
mod listing;
mod manual;
mod migrate;
mod stats;
mod top;

use yokedcache::exec::blocking::answer;
use yokedcache::operation::Operation;

use crate::arguments::{Arguments, Command, ConfigCommand};
use crate::failure::{Exit, Result};
use crate::session::Session;

/// Runs the command of the arguments.
pub fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Config(ConfigCommand::Check) => return check::check(&arguments),
        Command::Man => return manual::print(),
        Command::Completions(completions) => return completions::print(completions.shell),
        _ => {}
    }
    let mut session = Session::open(&arguments)?;
    let done = run_in(&mut session, arguments);
    // Output that was written before a failure still reaches the reader.
    session.close().and(done)
}

fn run_in(session: &mut Session, arguments: Arguments) -> Result<Exit> {
    if !matches!(arguments.command, Command::Health | Command::Top(_)) {
        answer(|context| session.cache.ready(context))?;
    }
    match arguments.command {
        Command::Ping => health::ping(session),
        Command::Health => health::health(session),
        Command::Stats(stats) => stats::stats(session, stats.watch),
        Command::Top(top) => top::top(session, &top),
        Command::Bench(bench) => bench::bench(session, &bench),
        Command::Get(get) => entry::get(session, &get),
        Command::Set(set) => entry::set(session, &set),
        Command::Del(keys) => entry::delete(session, &keys.keys),
        Command::Exists(key) => entry::exists(session, &key.key),
        Command::Ttl(key) => entry::ttl(session, &key.key),
        Command::Explain(explain) => explain::explain(session, &explain),
        Command::Expire(expire) => entry::expire(session, &expire),
        Command::Keys(listing) => listing::keys(session, &listing),
        Command::Search(search) => listing::search(session, &search),
        Command::Invalidate(invalidate) => invalidate::invalidate(session, &invalidate),
        Command::Clear(clear) => invalidate::remove_all(session, "clear", Operation::Clear { count: true }, clear.yes),
        Command::Flush(flush) => invalidate::remove_all(session, "flush", Operation::Flush { count: true }, flush.yes),
        Command::Publish(publish) => channel::publish(session, &publish),
        Command::Subscribe(subscribe) => channel::subscribe(session, &subscribe),
        Command::Events(events) => events::events(session, &events),
        Command::Migrate(migrate) => migrate::migrate(session, &arguments.source, &migrate),
        Command::Config(ConfigCommand::Check) | Command::Man | Command::Completions(_) => Ok(Exit::Done),
    }
}
