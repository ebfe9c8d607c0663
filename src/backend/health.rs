//! How a backend is, and what its servers' answers say of that.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{OpFuture, Outcome};
use crate::error::Error;

/// Whether a backend can serve.
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
    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a backend is.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Whether it can serve.
    pub status: Status,
    /// Why it is not healthy.
    pub reasons: Vec<String>,
    /// How long a sign of life took, from the slowest of several servers; `None` where none came.
    pub ping: Option<Duration>,
    /// What its servers tell of themselves.
    pub details: Json,
}

/// Whether details name servers, whose answers then say how the backend is.
pub fn tells_of_servers(details: &Json) -> bool {
    !servers(details).is_empty()
}

/// The servers in details.
pub fn servers(details: &Json) -> &[Json] {
    details["servers"].as_array().map_or(&[], Vec::as_slice)
}

/// Why one of them does not serve, if so.
pub fn failure(server: &Json) -> Option<&str> {
    server["error"].as_str()
}

impl Health {
    /// That of servers which have told of themselves: degraded while some of them do not answer and others do.
    pub fn of_servers(details: Json) -> Self {
        let servers = servers(&details);
        let reasons: Vec<String> = servers.iter().filter_map(failure).map(str::to_owned).collect();
        let status = match reasons.len() {
            0 => Status::Healthy,
            failed if failed < servers.len() => Status::Degraded,
            _ => Status::Unhealthy,
        };
        let ping = servers.iter().filter_map(|server| server["ping_us"].as_u64()).max().map(Duration::from_micros);
        Self { status, reasons, ping, details }
    }

    /// That of a backend which is asked for one sign of life.
    pub async fn of_ping(ping: OpFuture<'_, Outcome>, details: Json) -> Self {
        let asked = Instant::now();
        match ping.await {
            Ok(_) => Self { status: Status::Healthy, reasons: Vec::new(), ping: Some(asked.elapsed()), details },
            Err(error) => Self::unhealthy(&error, details),
        }
    }

    /// Nothing works, for one reason.
    pub fn unhealthy(error: &Error, details: Json) -> Self {
        Self { status: Status::Unhealthy, reasons: vec![error.message().to_owned()], ping: None, details }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::backend::done;
    use crate::error::ErrorKind;

    fn of(servers: Json) -> Health {
        Health::of_servers(json!({ "servers": servers }))
    }

    #[test]
    fn a_server_that_fails_beside_others_degrades_and_all_of_them_are_the_end() {
        let (well, slow) = (json!({"server": "a:1", "ping_us": 70}), json!({"server": "b:2", "ping_us": 90}));
        let failed = json!({"server": "c:3", "error": "c:3: refused"});
        let healthy = of(json!([well, slow]));
        assert_eq!((healthy.status, healthy.reasons.len()), (Status::Healthy, 0));
        assert_eq!(healthy.ping, Some(Duration::from_micros(90)));
        let degraded = of(json!([well, failed]));
        assert_eq!((degraded.status, degraded.reasons), (Status::Degraded, vec!["c:3: refused".to_owned()]));
        let unhealthy = of(json!([failed, failed]));
        assert_eq!((unhealthy.status, unhealthy.ping, unhealthy.reasons.len()), (Status::Unhealthy, None, 2));
    }

    #[test]
    fn without_servers_a_ping_decides() {
        assert!(!tells_of_servers(&Json::Null) && !tells_of_servers(&json!({"servers": []})));
        let well = Health::of_ping(done(Ok(Outcome::Done)), Json::Null).now_or_never().unwrap();
        assert_eq!((well.status, well.reasons.len(), well.ping.is_some()), (Status::Healthy, 0, true));
        let error = Error::new(ErrorKind::Connect, "a:1: refused");
        let ill = Health::of_ping(done(Err(error)), Json::Null).now_or_never().unwrap();
        assert_eq!((ill.status, ill.reasons), (Status::Unhealthy, vec!["a:1: refused".to_owned()]));
    }
}
