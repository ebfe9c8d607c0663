//! Asking the servers of a store, one after another, how they are.

use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use crate::caller;
use crate::error::{Error, ErrorKind, Result};

/// A call that goes from server to server. One that is silent leaves the others their time.
pub struct RollCall {
    /// Servers that were not asked yet.
    left: u32,
}

impl RollCall {
    /// A call of so many servers.
    pub fn of(servers: usize) -> Self {
        Self { left: u32::try_from(servers).unwrap_or(u32::MAX) }
    }

    /// The part of one server: that it does not answer, or how soon it did and what it told. One that answers and may
    /// not tell is well all the same.
    pub async fn ask(
        &mut self,
        server: &str,
        ping: impl Future<Output = Result<()>>,
        told: impl Future<Output = Result<Map<String, Json>>>,
    ) -> Map<String, Json> {
        let answered = self.answer(server, ping, told).await;
        self.left = self.left.saturating_sub(1);
        part(server, answered)
    }

    async fn answer(
        &self,
        server: &str,
        ping: impl Future<Output = Result<()>>,
        told: impl Future<Output = Result<Map<String, Json>>>,
    ) -> Answered {
        let asked = Instant::now();
        self.in_time(server, ping).await?;
        let took = asked.elapsed();
        match self.in_time(server, told).await {
            Err(error) if is_gone(&error) => Err(error),
            told => Ok((took, told)),
        }
    }

    /// An answer within a share of what is left of the call's time.
    async fn in_time<T>(&self, server: &str, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(end) = caller::call_deadline() else { return asking.await };
        let now = Instant::now();
        let share = end.saturating_duration_since(now) / (self.left + 1);
        let answer = caller::Until::new(now + share, asking).await;
        answer.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, format!("{server}: no answer within {share:?}"))))
    }
}

/// How soon it answered, and what it told then.
type Answered = Result<(Duration, Result<Map<String, Json>>)>;

fn part(server: &str, answered: Answered) -> Map<String, Json> {
    let mut part = Map::from_iter([("server".to_owned(), json!(server))]);
    match answered {
        Err(error) => _ = part.insert("error".into(), json!(naming(server, &error))),
        Ok((ping, told)) => {
            part.insert("ping_us".into(), json!(u64::try_from(ping.as_micros()).unwrap_or(u64::MAX)));
            match told {
                Ok(told) => part.extend(told),
                Err(error) => _ = part.insert("untold".into(), json!(naming(server, &error))),
            }
        }
    }
    part
}

/// Whether it went away just after it had answered.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout)
}

/// A reason says which server it is about.
fn naming(server: &str, error: &Error) -> String {
    let message = error.message();
    if message.contains(server) { message.to_owned() } else { format!("{server}: {message}") }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt;

    use super::*;

    fn ask(ping: Result<()>, told: Result<Map<String, Json>>) -> Map<String, Json> {
        RollCall::of(1).ask("a:1", ready(ping), ready(told)).now_or_never().unwrap()
    }

    fn refused() -> Error {
        Error::new(ErrorKind::Denied, "no permission")
    }

    #[test]
    fn one_that_does_not_answer_has_an_error_that_names_it() {
        let part = ask(Err(refused()), Ok(Map::new()));
        assert_eq!(Json::from(part), json!({"server": "a:1", "error": "a:1: no permission"}));
    }

    #[test]
    fn one_that_answers_and_may_not_tell_has_no_error() {
        let part = ask(Ok(()), Err(refused()));
        assert!(part.get("error").is_none() && part["ping_us"].is_u64());
        assert_eq!(part["untold"], "a:1: no permission");
        let gone = ask(Ok(()), Err(Error::new(ErrorKind::Timeout, "no answer")));
        assert_eq!(Json::from(gone), json!({"server": "a:1", "error": "a:1: no answer"}));
        let told = Map::from_iter([("version".to_owned(), json!("7"))]);
        assert_eq!(ask(Ok(()), Ok(told))["version"], "7");
    }
}
