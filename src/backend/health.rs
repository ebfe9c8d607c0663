//! The health of a backend, of its servers and of its fallback, typed; the cache writes it as JSON.

use std::time::{Duration, Instant};

use super::{OpFuture, Outcome};
use crate::error::Error;

/// The ability of a backend to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Healthy,
    /// A part of it does not work.
    Degraded,
    /// Nothing works.
    Unhealthy,
}

impl Status {
    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The health of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Its ability to serve.
    pub status: Status,
    /// The reasons why it is not healthy.
    pub reasons: Vec<String>,
    /// The round trip of a ping, the longest of several servers; `None` if no server answered.
    pub ping: Option<Duration>,
    /// The health of its servers; `None` if it has none, or if they are not known.
    pub details: Option<Details>,
}

/// The health of the servers of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// Every server that is known.
    pub servers: Vec<ServerHealth>,
    /// Requests in flight to them.
    pub in_flight: u64,
    /// Their topology, if they have one.
    pub topology: Option<&'static str>,
}

/// The health of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerHealth {
    /// Its name.
    pub server: String,
    /// Its answer, or the reason why it does not serve.
    pub answer: Result<ServerAnswer, String>,
    /// True if keys are distributed to it; `None` if it cannot be left out.
    pub in_ring: Option<bool>,
}

/// The answer of a server that serves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerAnswer {
    /// The round trip of its ping.
    pub ping: Duration,
    /// Its statistics, or the reason why it does not report any.
    pub statistics: Result<Statistics, String>,
}

/// Statistics of a server by their names in reports.
pub type Statistics = Vec<(&'static str, Statistic)>;

/// A statistic of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statistic {
    /// A number; `None` if the server sends another text.
    Number(Option<u64>),
    /// A text.
    Text(String),
}

/// The health of a fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackHealth {
    /// The name of the backend that is the fallback.
    pub backend: &'static str,
    /// The state of its circuit breaker.
    pub circuit: CircuitState,
    /// Answers that it gave.
    pub answers: u64,
    /// Outages of the primary so far.
    pub outages: u64,
    /// The outage during which it serves now; `None`: the primary serves.
    pub outage: Option<Outage>,
}

/// An outage of a primary, during which its fallback serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The reason why the fallback serves.
    pub reason: String,
    /// The time since it began.
    pub lasted: Duration,
    /// Changes that will be replayed on the primary.
    pub pending: usize,
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// The primary serves.
    Closed,
    /// The primary answers again and is brought up to date.
    HalfOpen,
    /// The fallback serves.
    Open,
}

impl CircuitState {
    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

impl Statistic {
    /// Reads a number.
    pub fn number(text: &str) -> Self {
        Self::Number(text.parse().ok())
    }
}

impl Health {
    /// Returns the health of servers: degraded while some of them do not answer and others do.
    pub fn of_servers(details: Details) -> Self {
        let answers = || details.servers.iter().map(|server| server.answer.as_ref());
        let reasons: Vec<String> = answers().filter_map(Result::err).cloned().collect();
        let status = match reasons.len() {
            0 => Status::Healthy,
            failed if failed < details.servers.len() => Status::Degraded,
            _ => Status::Unhealthy,
        };
        let ping = answers().filter_map(Result::ok).map(|answer| answer.ping).max();
        Self { status, reasons, ping, details: Some(details) }
    }

    /// Returns the health of a backend that answers one ping, or does not.
    pub async fn of_ping(ping: OpFuture<'_, Outcome>, details: Option<Details>) -> Self {
        let asked = Instant::now();
        match ping.await {
            Ok(_) => Self { status: Status::Healthy, reasons: Vec::new(), ping: Some(asked.elapsed()), details },
            Err(error) => Self { details, ..Self::unhealthy(&error) },
        }
    }

    /// Returns the health of a backend that does not work, for one reason.
    pub fn unhealthy(error: &Error) -> Self {
        Self { status: Status::Unhealthy, reasons: vec![error.message().to_owned()], ping: None, details: None }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::backend::done;
    use crate::error::ErrorKind;

    fn of(answers: &[Result<u64, &str>]) -> Health {
        let server = |answer: &Result<u64, &str>| ServerHealth {
            server: "a:1".to_owned(),
            answer: match answer {
                Ok(micros) => Ok(ServerAnswer { ping: Duration::from_micros(*micros), statistics: Ok(Vec::new()) }),
                Err(reason) => Err((*reason).to_owned()),
            },
            in_ring: None,
        };
        Health::of_servers(Details { servers: answers.iter().map(server).collect(), in_flight: 0, topology: None })
    }

    #[test]
    fn a_server_that_fails_beside_others_degrades_and_all_of_them_are_the_end() {
        let (well, slow, failed) = (Ok(70), Ok(90), Err("c:3: refused"));
        let healthy = of(&[well, slow]);
        assert_eq!((healthy.status, healthy.reasons.len()), (Status::Healthy, 0));
        assert_eq!(healthy.ping, Some(Duration::from_micros(90)));
        let degraded = of(&[well, failed]);
        assert_eq!((degraded.status, degraded.reasons), (Status::Degraded, vec!["c:3: refused".to_owned()]));
        let unhealthy = of(&[failed, failed]);
        assert_eq!((unhealthy.status, unhealthy.ping, unhealthy.reasons.len()), (Status::Unhealthy, None, 2));
    }

    #[test]
    fn without_servers_a_ping_decides() {
        let well = Health::of_ping(done(Ok(Outcome::Done)), None).now_or_never().unwrap();
        assert_eq!((well.status, well.reasons.len(), well.ping.is_some()), (Status::Healthy, 0, true));
        let error = Error::new(ErrorKind::Connect, "a:1: refused");
        let ill = Health::of_ping(done(Err(error)), None).now_or_never().unwrap();
        assert_eq!((ill.status, ill.reasons), (Status::Unhealthy, vec!["a:1: refused".to_owned()]));
    }
}
