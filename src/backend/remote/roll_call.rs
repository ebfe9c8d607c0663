//! Asking the servers of a store, one after another, how they are.

use std::time::Instant;

use crate::backend::health::{ServerAnswer, ServerHealth, Statistics};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

/// A call that goes from server to server. One that is silent leaves the others their time.
pub struct RollCall {
    context: CallContext,
    /// Servers that were not asked yet.
    left: u32,
}

impl RollCall {
    /// A call of so many servers.
    pub fn of(context: CallContext, servers: usize) -> Self {
        Self { context, left: u32::try_from(servers).unwrap_or(u32::MAX) }
    }

    /// Returns the health of one server. One that answers and may not report its statistics is healthy nevertheless.
    pub async fn ask<P: Future<Output = Result<()>>, T: Future<Output = Result<Statistics>>>(
        &mut self,
        server: &str,
        ping: impl FnOnce(CallContext) -> P,
        told: impl FnOnce(CallContext) -> T,
    ) -> ServerHealth {
        let answer = self.answer(server, ping, told).await;
        self.left = self.left.saturating_sub(1);
        ServerHealth {
            server: server.to_owned(),
            answer: answer.map_err(|error| naming(server, &error)),
            in_ring: None,
        }
    }

    async fn answer<P: Future<Output = Result<()>>, T: Future<Output = Result<Statistics>>>(
        &self,
        server: &str,
        ping: impl FnOnce(CallContext) -> P,
        told: impl FnOnce(CallContext) -> T,
    ) -> Result<ServerAnswer> {
        let asked = Instant::now();
        self.in_time(server, ping).await?;
        let ping = asked.elapsed();
        match self.in_time(server, told).await {
            Err(error) if is_gone(&error) => Err(error),
            told => Ok(ServerAnswer { ping, statistics: told.map_err(|error| naming(server, &error)) }),
        }
    }

    /// An answer within a share of what is left of the call's time.
    async fn in_time<T, F: Future<Output = Result<T>>>(
        &self,
        server: &str,
        asking: impl FnOnce(CallContext) -> F,
    ) -> Result<T> {
        let Some(end) = self.context.end() else { return asking(self.context).await };
        let now = Instant::now();
        let share = end.saturating_duration_since(now) / (self.left + 1);
        let answer = self.context.run_until(now + share, asking).await;
        answer.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, format!("{server}: no answer within {share:?}"))))
    }
}

/// Returns true if a server went away just after its answer.
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
    use crate::backend::health::Statistic;

    fn ask(ping: Result<()>, told: Result<Statistics>) -> ServerHealth {
        RollCall::of(CallContext::task(), 1).ask("a:1", |_| ready(ping), |_| ready(told)).now_or_never().unwrap()
    }

    fn refused() -> Error {
        Error::new(ErrorKind::Denied, "no permission")
    }

    #[test]
    fn one_that_does_not_answer_has_an_error_that_names_it() {
        let health = ask(Err(refused()), Ok(Vec::new()));
        assert_eq!((health.server.as_str(), health.answer), ("a:1", Err("a:1: no permission".to_owned())));
    }

    #[test]
    fn one_that_answers_and_may_not_tell_has_no_error() {
        let answer = ask(Ok(()), Err(refused())).answer.unwrap();
        assert_eq!(answer.statistics, Err("a:1: no permission".to_owned()));
        let gone = ask(Ok(()), Err(Error::new(ErrorKind::Timeout, "no answer")));
        assert_eq!(gone.answer, Err("a:1: no answer".to_owned()));
        let told = vec![("version", Statistic::Text("7".to_owned()))];
        assert_eq!(ask(Ok(()), Ok(told.clone())).answer.unwrap().statistics, Ok(told));
    }
}
