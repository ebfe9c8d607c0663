//! The fields of INFO, and the identity of the server's process that they report.

use super::resp::{RespReader, RespValue};
use crate::entry::fingerprint;
use crate::net::Identity;
use crate::util::random;

/// Returns the fields of an INFO reply; none if the server refused it.
pub fn fields(reply: RespReader<'_>) -> impl Iterator<Item = (&str, &str)> {
    let text = reply.into_iter().next().and_then(RespValue::bytes).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.trim_end().split_once(':'))
}

fn field<'a>(reply: RespReader<'a>, name: &str) -> Option<&'a str> {
    fields(reply).find_map(|(known, value)| (known == name).then_some(value))
}

/// Returns the identity of the process that answers, by `INFO server` and `INFO replication`. If the server does not
/// report it, or the user may not ask, each connection counts as one to another process.
pub fn identity(server: RespReader<'_>, replication: RespReader<'_>) -> Identity {
    let hash = |value: Option<&str>| value.filter(|it| is_random(it)).map(|it| fingerprint(it.as_bytes()));
    let (process, history) = (hash(field(server, "run_id")), hash(field(replication, "master_replid")));
    let reported = process.is_some() && history.is_some();
    Identity { process: process.unwrap_or_else(unknown), history: history.unwrap_or_else(unknown), reported }
}

/// Returns whether a server was demoted, or promoted again, since its history was this one, by `INFO replication`. A
/// server that gets its first replica begins a history too, but continues no other; its data stays the same.
pub fn has_changed_role(replication: RespReader<'_>, history: u64) -> bool {
    let id = |name| field(replication, name).filter(|id| is_random(id));
    let is_another = id("master_replid").is_some_and(|id| fingerprint(id.as_bytes()) != history);
    is_another && (field(replication, "role") != Some("master") || id("master_replid2").is_some())
}

/// Returns whether the server is a node of a cluster, by `INFO server`; false if the reply does not say.
pub fn is_node(server: RespReader<'_>) -> bool {
    ["redis_mode", "server_mode"].iter().any(|name| field(server, name) == Some("cluster"))
}

/// Returns the availability zone of the server, by `INFO server`; Valkey 8 and later report one that is configured.
pub fn zone(server: RespReader<'_>) -> Option<&str> {
    field(server, "availability_zone").filter(|zone| !zone.is_empty())
}

/// Returns whether an id is a random one: services that hide their servers may report zeros.
fn is_random(value: &str) -> bool {
    value.len() >= 16 && value.bytes().any(|byte| byte != b'0')
}

fn unknown() -> u64 {
    random::cheap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Vec<u8> {
        format!("${}\r\n{text}\r\n", text.len()).into_bytes()
    }

    fn identified(server: &str, replication: &str) -> Identity {
        identity(RespReader(&reply(server)), RespReader(&reply(replication)))
    }

    const RUN: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:0e4abfe1ea2f2b0ba67a7d8cc1e0f09d6cd1d5cb\r\n";
    const HISTORY: &str = "# Replication\r\nrole:master\r\nmaster_replid:8f1c7b0d0ddc3d3a45b9c1dbd8f4b2a1b52e1f11\r\n";

    #[test]
    fn the_run_id_and_the_replication_id_are_an_identity() {
        let one = identified(RUN, HISTORY);
        assert_eq!(one, identified(RUN, HISTORY));
        let restarted = identified(&RUN.replace("0e4a", "0e4b"), HISTORY);
        assert!(one.process != restarted.process && one.history == restarted.history);
        let promoted = identified(RUN, &HISTORY.replace("8f1c", "8f1d"));
        assert!(one.reported && one.process == promoted.process && one.history != promoted.history);
    }

    #[test]
    fn a_server_that_was_demoted_or_promoted_has_changed_its_role() {
        let history = identified(RUN, HISTORY).history;
        let changed = |replication: &str| has_changed_role(RespReader(&reply(replication)), history);
        let other = HISTORY.replace("8f1c", "8f1d");
        let former = |id: &str| format!("{other}master_replid2:{id}\r\n");
        assert!(!changed(HISTORY) && changed(&other.replace("master\r", "slave\r")));
        assert!(!changed(&former(&"0".repeat(40))));
        assert!(changed(&former("8f1c7b0d0ddc3d3a45b9c1dbd8f4b2a1b52e1f11")));
        assert!(!has_changed_role(RespReader(b"-NOPERM no\r\n"), history));
    }

    #[test]
    fn a_server_reports_its_zone_or_none() {
        let of = |text: &str| zone(RespReader(&reply(text))).map(str::to_owned);
        assert_eq!(of("# Server\r\navailability_zone:us-east-1a\r\n"), Some("us-east-1a".to_owned()));
        assert_eq!((of("availability_zone:\r\n"), of(RUN)), (None, None));
    }

    #[test]
    fn a_server_that_does_not_say_is_another_each_time() {
        let refused = || identity(RespReader(b"-NOPERM no\r\n"), RespReader(b"+OK\r\n"));
        assert!(!refused().reported);
        assert_ne!(refused().process, refused().process);
        assert_ne!(refused().history, refused().history);
        let zeros = || identified(&format!("run_id:{}\r\n", "0".repeat(40)), HISTORY);
        assert_ne!(zeros().process, zeros().process);
    }
}
