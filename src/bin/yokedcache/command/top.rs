//! `top`: a live view of the servers of a cache.
//!
//! All figures are those that the servers report of themselves: of all clients, databases and prefixes.

use std::io::{self, IsTerminal, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value as Json, json};
use yokedcache::backend::health::ServerHealth;
use yokedcache::cache::HealthReport;
use yokedcache::exec::blocking::{answer, wait};

use super::stats::{number, own};
use crate::arguments::Top;
use crate::bytes;
use crate::failure::{Exit, Failure, Result};
use crate::human;
use crate::interrupt::Interrupt;
use crate::session::Session;

/// The longest wait for a key before a look whether a signal arrived.
const LOOK: Duration = Duration::from_millis(100);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR: &str = "\x1b[H\x1b[2J";
const NOTE: &str = "Figures of whole servers: all clients, databases and prefixes, without the lookups of this tool.";

/// Shows the servers until interrupted, until `q` is typed, or for a number of times.
pub fn top(session: &mut Session, arguments: &Top) -> Result<Exit> {
    if session.config.store().is_none() {
        let text = "a cache in memory belongs to one process and has no servers: read yc_stats in that process";
        return Err(Failure::Usage(text.to_owned()));
    }
    let screen = Screen::take(session.output.is_json());
    let restored = screen.clone();
    let interrupt = Interrupt::notice(move || restored.leave())?;
    // A server that is down is a part of the view.
    let _ = answer(|context| session.cache.ready(context));
    let shown = show(session, arguments, &screen, &interrupt);
    screen.leave();
    shown.map(|()| if interrupt.is_wanted() { Exit::Interrupted } else { Exit::Done })
}

fn show(session: &mut Session, arguments: &Top, screen: &Screen, interrupt: &Interrupt) -> Result<()> {
    let (mut before, mut left) = (None, arguments.count.unwrap_or(u64::MAX));
    while left > 0 && !interrupt.is_wanted() {
        let health = wait(|context| session.cache.health_report(context));
        let look = Look { at: Instant::now(), health };
        let clear = if screen.is_live() { CLEAR } else { "" };
        let end = if screen.is_live() { "\nq or Ctrl-C ends" } else { "\n" };
        session
            .output
            .say(|| format!("{clear}{}{end}", written(&look, before.as_ref())), || object(&look, before.as_ref()))?;
        session.output.flush()?;
        left -= 1;
        let next = look.at + arguments.interval;
        before = Some(look);
        if left > 0 && screen.wait_for_q(next, interrupt) {
            break;
        }
    }
    Ok(())
}

/// The health of the servers at one time.
struct Look {
    at: Instant,
    health: HealthReport,
}

/// The change of counters of one server, or of all, from one look to the next, per second.
#[derive(Default)]
struct Rates {
    hits: Option<f64>,
    misses: Option<f64>,
    evicted: Option<f64>,
    expired: Option<f64>,
}

impl Rates {
    fn of(server: &ServerHealth, before: &Look, now: &Look) -> Self {
        let same = before.health.servers().iter().find(|it| it.server == server.server);
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |name: &str| {
            let change = number(server, name)? - number(same?, name)?;
            #[allow(clippy::cast_precision_loss)]
            (change >= 0).then(|| change as f64 / seconds)
        };
        Self {
            hits: rate("hits"),
            misses: rate("misses"),
            evicted: rate("evicted_keys"),
            expired: rate("expired_keys"),
        }
    }

    /// Returns the sum over servers that report both looks. A server that is down serves nothing.
    fn sum(each: &[Self], own: f64) -> Self {
        let sum = |rate: fn(&Self) -> Option<f64>| each.iter().filter_map(rate).reduce(|sum, one| sum + one);
        let misses = sum(|it| it.misses).map(|misses| (misses - own).max(0.0));
        Self { hits: sum(|it| it.hits), misses, evicted: sum(|it| it.evicted), expired: sum(|it| it.expired) }
    }

    fn lookups(&self) -> Option<f64> {
        self.hits.zip(self.misses).map(|(hits, misses)| hits + misses)
    }

    fn hit_rate(&self) -> Option<f64> {
        let lookups = self.lookups().filter(|lookups| *lookups > 0.0)?;
        self.hits.map(|hits| hits / lookups)
    }

    fn to_json(&self) -> Json {
        let rounded = |rate: Option<f64>| rate.map(|rate| (rate * 10.0).round() / 10.0);
        json!({
            "lookups": rounded(self.lookups()),
            "hit_rate": self.hit_rate(),
            "evicted_keys": rounded(self.evicted),
            "expired_keys": rounded(self.expired),
        })
    }
}

/// Returns the rates of each server and of all.
fn rates(look: &Look, before: Option<&Look>) -> (Vec<Rates>, Rates) {
    let servers = look.health.servers();
    let Some(before) = before else { return (servers.iter().map(|_| Rates::default()).collect(), Rates::default()) };
    let each: Vec<Rates> = servers.iter().map(|server| Rates::of(server, before, look)).collect();
    let seconds = look.at.duration_since(before.at).as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss)]
    let all = Rates::sum(&each, own(&look.health, "misses") as f64 / seconds);
    (each, all)
}

fn object(look: &Look, before: Option<&Look>) -> Json {
    let (each, all) = rates(look, before);
    let mut servers = look.health.servers_to_json();
    servers.iter_mut().zip(&each).for_each(|(server, rates)| server["rates"] = rates.to_json());
    let health = &look.health.health;
    json!({
        "status": health.status.name(),
        "reasons": health.reasons,
        "backend": look.health.backend,
        "key_prefix": look.health.key_prefix,
        "figures": "servers",
        "rates": all.to_json(),
        "servers": servers,
    })
}

fn written(look: &Look, before: Option<&Look>) -> String {
    let (each, all) = rates(look, before);
    let servers = look.health.servers();
    let down = servers.iter().filter(|server| server.answer.is_err()).count();
    let mut lines = vec![
        format!(
            "yokedcache top: {}, {}: {} servers, {down} down",
            look.health.backend,
            look.health.health.status.name(),
            servers.len()
        ),
        NOTE.to_owned(),
        String::new(),
        row(
            "SERVER",
            "STATE",
            ["PING", "HIT RATE", "LOOKUPS/S", "EVICTED/S", "EXPIRED/S", "MEMORY", "MAXIMUM", "CLIENTS", "ITEMS"]
                .map(str::to_owned),
        ),
    ];
    for (server, rates) in servers.iter().zip(&each) {
        let name = bytes::shown(server.server.as_bytes());
        match &server.answer {
            Ok(answer) => {
                lines.push(row(&name, "up", cells(&human::time(answer.ping), rates, |it| number(server, it))))
            }
            Err(reason) => lines.push(format!("{name:<24} down   {}", bytes::shown(reason.as_bytes()))),
        }
    }
    if servers.is_empty() {
        lines.extend(
            look.health.health.reasons.iter().map(|reason| format!("down: {}", bytes::shown(reason.as_bytes()))),
        );
    } else {
        // Of the servers that are up: each adds what it reports.
        let sum = |name: &str| servers.iter().filter_map(|server| number(server, name)).reduce(i64::saturating_add);
        lines.push(row("all that are up", "", cells("", &all, sum)));
    }
    lines.join("\n")
}

fn cells(ping: &str, rates: &Rates, figure: impl Fn(&str) -> Option<i64>) -> [String; 9] {
    let unknown = || "-".to_owned();
    let rate = |rate: Option<f64>| rate.map_or_else(unknown, |rate| format!("{rate:.1}"));
    let size = |name: &str| figure(name).and_then(|bytes| u64::try_from(bytes).ok());
    [
        ping.to_owned(),
        rates.hit_rate().map_or_else(unknown, |rate| format!("{:.1} %", rate * 100.0)),
        rate(rates.lookups()),
        rate(rates.evicted),
        rate(rates.expired),
        size("used_memory_bytes").map_or_else(unknown, human::size),
        size("max_memory_bytes").filter(|bytes| *bytes > 0).map_or_else(unknown, human::size),
        figure("connected_clients").map_or_else(unknown, |number| number.to_string()),
        figure("items").map_or_else(unknown, |number| number.to_string()),
    ]
}

fn row(name: &str, state: &str, cells: [String; 9]) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:>11}")).collect();
    format!("{name:<24} {state:<6}{cells}")
}

// ---- Terminal ----

/// The terminal, whose settings are restored at the end. Without one, nothing is changed.
#[derive(Clone)]
struct Screen {
    is_live: bool,
    /// The settings before, if keys are read as they are typed.
    settings: Arc<Mutex<Option<Termios>>>,
}

impl Screen {
    fn take(is_json: bool) -> Self {
        let screen = Self { is_live: !is_json && io::stdout().is_terminal(), settings: Arc::default() };
        if screen.is_live {
            print!("{HIDE_CURSOR}");
            if let Ok(settings) = tcgetattr(io::stdin()) {
                let mut changed = settings.clone();
                changed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
                if tcsetattr(io::stdin(), OptionalActions::Now, &changed).is_ok() {
                    *screen.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
                }
            }
        }
        screen
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn reads_keys(&self) -> bool {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits until a time, a signal or the key `q`. Returns true for the key.
    fn wait_for_q(&self, end: Instant, interrupt: &Interrupt) -> bool {
        if !self.reads_keys() {
            interrupt.sleep_until(end);
            return false;
        }
        let stdin = io::stdin();
        while !interrupt.is_wanted() {
            let left = end.saturating_duration_since(Instant::now()).min(LOOK);
            if left.is_zero() {
                return false;
            }
            let left = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            let mut key = [0];
            if poll(&mut ready, Some(&left)).is_ok_and(|ready| ready > 0) {
                match stdin.lock().read(&mut key) {
                    Ok(0) | Err(_) => return true,
                    Ok(_) if matches!(key[0], b'q' | b'Q') => return true,
                    Ok(_) => {}
                }
            }
        }
        false
    }

    /// Restores the terminal. A second call does nothing.
    fn leave(&self) {
        if let Some(settings) = self.settings.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
        }
        if self.is_live {
            // Standard output may be locked by the thread that writes; the standard error is the same terminal.
            eprintln!("{SHOW_CURSOR}");
        }
    }
}
