//! A sample of the entries of a prefix, to estimate their number and size.

use std::sync::Arc;

use super::ask::{ask, scan};
use super::commands::{Commands, Kind};
use super::names;
use super::resp::{RespReader, RespValue};
use super::run::{Policy, run};
use super::topology::Topology;
use crate::backend::remote::{SAMPLE, Sample};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::net::Server;
use crate::util::byte_strings::ByteStrings;

/// The most pages an estimate looks at on each server.
const SAMPLED_PAGES: usize = 10;
/// The most counts of all entries that are made while slots move.
const COUNTS: u32 = 3;

/// Samples names of entries on each primary: all of them if the server has only a few thousand names. A listing while
/// slots move may be incomplete.
pub async fn sample(context: CallContext, topology: &Topology, policy: Policy, prefix: &str) -> Result<Vec<Sample>> {
    let mut layout = topology.look(context).await?;
    for attempt in 1.. {
        let mut samples = sample_of(context, topology, policy, prefix, &layout.servers).await?;
        let now = if topology.is_cluster() { topology.look(context).await? } else { layout.clone() };
        let is_settled = now.hash == layout.hash && !now.is_moving;
        if is_settled || attempt == COUNTS {
            samples.iter_mut().filter(|_| !is_settled).for_each(|it| it.scale = it.scale.or(Some(1.0)));
            return Ok(samples);
        }
        layout = now;
    }
    Ok(Vec::new())
}

async fn sample_of(
    context: CallContext,
    topology: &Topology,
    policy: Policy,
    prefix: &str,
    servers: &[Arc<Server>],
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for server in servers {
        let (listed, looked_at_all) = first_entries(context, server, prefix).await?;
        let mut names = ByteStrings::default();
        listed.iter().take(SAMPLE).for_each(|name| names.push(name));
        let is_whole = looked_at_all && names.len() == listed.len();
        let scale =
            if is_whole { None } else { Some(scale(context, server, listed.len(), names.len(), looked_at_all).await?) };
        samples.push(Sample { sizes: sizes(context, topology, policy, &names).await?, names, scale });
    }
    Ok(samples)
}

/// The entries among the first names of a server, and whether these are all.
async fn first_entries(context: CallContext, server: &Server, prefix: &str) -> Result<(ByteStrings, bool)> {
    let (glob, mut cursor, mut listed) = (names::entries_glob(prefix, b""), 0, ByteStrings::default());
    let mut process = None;
    for _ in 0..SAMPLED_PAGES {
        let (page, next, answered) = scan(context, server, cursor, &glob, process).await?;
        // The cursor of another process means nothing: what was listed is a part.
        if process.replace(answered).is_some_and(|before| before != answered) {
            return Ok((listed, false));
        }
        page.iter().filter(|name| names::key(prefix, name).is_some()).for_each(|name| listed.push(name));
        cursor = next;
        if cursor == 0 {
            return Ok((listed, true));
        }
    }
    Ok((listed, false))
}

/// Returns the ratio of the entries of the server to those in a sample of the ones that were listed.
#[allow(clippy::cast_precision_loss)]
async fn scale(
    context: CallContext,
    server: &Server,
    listed: usize,
    sampled: usize,
    looked_at_all: bool,
) -> Result<f64> {
    let of_listed = listed as f64 / sampled.max(1) as f64;
    Ok(if looked_at_all { of_listed } else { of_listed * share_not_seen(context, server).await? })
}

/// Returns the ratio of the names of the server to the names that were examined.
#[allow(clippy::cast_precision_loss)]
async fn share_not_seen(context: CallContext, server: &Server) -> Result<f64> {
    let reply = ask(context, server, &[b"DBSIZE"]).await?;
    let looked_at = (SAMPLED_PAGES * 1000) as f64;
    Ok(match RespReader(&reply).next() {
        Some(RespValue::Number(names)) => (names as f64 / looked_at).max(1.0),
        _ => 1.0,
    })
}

/// The lengths of name and stored form together.
async fn sizes(context: CallContext, topology: &Topology, policy: Policy, names: &ByteStrings) -> Result<Vec<u64>> {
    let mut commands = Commands::new(Kind::Read, topology.may_be_cluster());
    let mut sizes = Vec::with_capacity(names.len());
    for name in names.iter() {
        commands.push(name, &[b"STRLEN", name]);
        sizes.push(name.len() as u64);
    }
    for (size, received) in sizes.iter_mut().zip(run(context, topology, &commands, policy).await) {
        *size += u64::try_from(received?.number()?).unwrap_or(0);
    }
    Ok(sizes)
}
