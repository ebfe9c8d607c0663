#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

const LIMIT: Duration = Duration::from_millis(60);

/// Two commands: no node has the first one now, and none may have the second.
#[derive(Default)]
struct Nowhere {
    attempts: AtomicU32,
}

impl Protocol for Nowhere {
    type Node = std::convert::Infallible;
    type Target = ();
    type Reply = ();
    const IMMEDIATE_RETRIES: u32 = 0;

    fn len(&self) -> usize {
        2
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    fn only_node(&self) -> Option<Self::Node> {
        None
    }

    fn assign(&self, command: &Pending<()>, _: &mut Vec<Group<Self>>) -> std::result::Result<usize, Unassigned> {
        self.attempts.fetch_add(1, Relaxed);
        let error = Error::new(ErrorKind::Server, format!("command {}", command.index));
        Err(if command.index == 0 { Unassigned::Retry(error) } else { Unassigned::Fail(error) })
    }

    fn server<'a>(&'a self, node: &'a Self::Node) -> &'a Server {
        match *node {}
    }

    fn encode<'a>(&'a self, group: &'a Group<Self>) -> Result<Request<'a>> {
        match group.node {}
    }

    fn classify(&self, group: &Group<Self>, _: RawReplies) -> Classified<Self> {
        match group.node {}
    }

    fn may_retry(&self, _: usize, _: &Failure, _: Duration) -> bool {
        false
    }

    fn late(&self, _: CallContext, _: usize) -> Error {
        Error::new(ErrorKind::Timeout, "late")
    }
}

fn messages(outcomes: Outcomes<()>) -> Vec<String> {
    outcomes.into_iter().map(|outcome| outcome.unwrap_err().message().to_owned()).collect()
}

#[tokio::test]
async fn a_command_without_a_node_is_retried_until_the_deadline_and_keeps_its_reason() {
    let (nowhere, begun) = (Nowhere::default(), Instant::now());
    assert_eq!(messages(execute(CallContext::task(), &nowhere).await), ["command 0", "command 1"]);
    assert!(begun.elapsed() >= LIMIT / 2, "it gave up after {:?}", begun.elapsed());
    // The second command failed in the first attempt.
    let attempts = nowhere.attempts.load(Relaxed) - 1;
    assert!((2..20).contains(&attempts), "{attempts} attempts");
}

#[tokio::test]
async fn a_command_that_is_never_attempted_is_late() {
    let nowhere = Nowhere::default();
    let execution = Box::new(Execution::new(CallContext::task(), &nowhere, Instant::now()));
    assert_eq!(messages(execution.run().await), ["late", "late"]);
}
