//! The options of connections, for every backend on servers.

use std::time::Duration;

use super::MIB;
use crate::config::document::Field;
use crate::config::kind::Choices;
use crate::config::kind::Kind::{Choice, Flag, Rows, Seconds, Size, SmallCount, Time};
use crate::config::row::{Row, or_variable, row};
use crate::config::{Connect, ConnectionConfig, Keepalive};

/// The longest time accepted here, in milliseconds: a day.
const DAY: u64 = 86_400_000;
/// The most seconds and probes that Linux takes (`MAX_TCP_KEEPIDLE` and its like).
const MAX_KEEPALIVE: u64 = 32_767;
const MAX_PROBES: u32 = 127;

/// What the rows fill.
#[derive(Clone, PartialEq)]
pub(super) struct Options {
    keepalive: bool,
    probes: Keepalive,
    config: ConnectionConfig,
}

/// Options before the rows fill them.
pub(super) const UNFILLED: Options = Options {
    keepalive: false,
    probes: Keepalive { idle: Duration::ZERO, interval: Duration::ZERO, count: 0 },
    config: ConnectionConfig {
        pool_size: 0,
        timeout: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        keepalive: None,
        retry_on_timeout: false,
        health_check_interval: Duration::ZERO,
        connect: Connect::Eager,
        max_pending: 0,
        max_pending_bytes: 0,
        nodelay: false,
    },
};

const CONNECT: Choices<Options> =
    &[("eager", |c| c.config.connect = Connect::Eager), ("lazy", |c| c.config.connect = Connect::Lazy)];

#[rustfmt::skip]
const PROBES: &[Row<Options>] = &[
    row("TCP_KEEPIDLE idle", Seconds(1..=MAX_KEEPALIVE, |c| &mut c.probes.idle), "30", ""),
    row("TCP_KEEPINTVL interval", Seconds(1..=MAX_KEEPALIVE, |c| &mut c.probes.interval), "5", ""),
    row("TCP_KEEPCNT count", SmallCount(1..=MAX_PROBES, |c| &mut c.probes.count), "3", ""),
];

#[rustfmt::skip]
pub(super) const CONNECTION: &[Row<Options>] = &[
    or_variable("REDIS_POOL_SIZE", row("pool_size connection_pool_size max_connections", SmallCount(1..=1000, |c| &mut c.config.pool_size), "2", "Multiplexed connections a server; callers share them. The variable counts for Redis.")),
    row("socket_timeout timeout", Time(1..=DAY, |c| &mut c.config.timeout), "1s", "The deadline of a call, with queueing, connecting and retries. A bare number is in seconds; one over 60 causes a warning."),
    row("socket_connect_timeout connect_timeout", Time(1..=DAY, |c| &mut c.config.connect_timeout), "2s", "The longest that one connection may take to be made. A bare number is in seconds; one over 60 causes a warning."),
    row("socket_keepalive", Flag(|c, on| c.keepalive = on), "true", "TCP asks whether an idle server is still there."),
    row("socket_keepalive_options", Rows(PROBES), "", "Seconds of silence before the first probe (30), seconds between two (5), and probes without an answer until the connection is lost (3). Also `idle`, `interval`, `count`."),
    row("retry_on_timeout", Flag(|c, on| c.config.retry_on_timeout = on), "true", "Retries an idempotent command within the deadline if its reply was lost. A `set` that was sent twice can overwrite a newer value that another process stored in between; with `false` such a call fails instead."),
    row("health_check_interval", Time(0..=DAY, |c| &mut c.config.health_check_interval), "30s", "Time between two checks of an idle connection; 0: never."),
    row("connect", Choice(CONNECT), "eager", "Connects while the cache is opened, which then fails if the server does; or at the first call."),
    row("max_pending", SmallCount(1..=1_000_000, |c| &mut c.config.max_pending), "1000", "Calls under way a server; one more gets `YC_E_BUSY`."),
    row("max_pending_bytes", Size(1..=1024 * 1024 * MIB, |c| &mut c.config.max_pending_bytes), "64MiB", "Bytes on their way to a server; a call beyond gets `YC_E_BUSY`."),
    row("tcp_nodelay", Flag(|c, on| c.config.nodelay = on), "true", "Small packets are sent at once."),
];

/// Returns the given fields that limit the time of a server.
pub(in crate::config) fn timeouts(fields: &[Field]) -> Vec<&Field> {
    let rows = CONNECTION.iter().filter(|row| ["socket_timeout", "socket_connect_timeout"].contains(&row.name()));
    rows.filter_map(|row| row.given(fields)).collect()
}

/// What the options say together.
pub(super) fn config(options: Options) -> ConnectionConfig {
    ConnectionConfig { keepalive: options.keepalive.then_some(options.probes), ..options.config }
}
