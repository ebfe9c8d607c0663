//! Credentials that the application supplies while a cache is in use.
//!
//! One request at a time asks for them, on a thread of its own that may block: when the first connection needs them, shortly
//! before they expire, and when a server has refused them. All connections of a cache share the answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::lock;
use crate::util::shown::shown;

/// New credentials are asked for this long before the old ones expire, or when a fifth of their time is left.
const MARGIN: Duration = Duration::from_secs(60);
/// Credentials that are valid for a shorter time count as valid for this long.
const SHORTEST: Duration = Duration::from_secs(1);
/// The first and the longest pause before a request that follows a failure or a refusal.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The most letters of the reason of a failure in messages.
const LONGEST_REASON: usize = 500;

/// Supplies credentials.
pub trait Issuer: Send + Sync {
    /// Answers the request, at once or later. It is called on a thread that may block, and once at a time.
    fn ask(&self, request: CredentialRequest);
}

/// The credentials that an application supplies to a cache. Copies are the same.
#[derive(Clone, Default)]
pub struct Renewal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the state has changed.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    issuer: Option<Arc<dyn Issuer>>,
    /// The number of issuers so far: an answer to a request of another one is ignored.
    generation: u64,
    /// True while a request has no answer.
    is_asking: bool,
    /// The number of threads that an issuer runs on.
    running: u32,
    given: Option<Given>,
    failure: Option<Error>,
    /// The time before which no request begins, after a failure or a refusal.
    earliest: Option<Instant>,
    pause: Duration,
    is_closed: bool,
}

/// An answer.
struct Given {
    credentials: Arc<Credentials>,
    /// `None`: they do not expire.
    times: Option<Times>,
    is_refused: bool,
}

#[derive(Clone, Copy)]
struct Times {
    renew: Instant,
    expire: Instant,
}

impl Given {
    fn is_valid(&self, now: Instant) -> bool {
        self.times.is_none_or(|times| now < times.expire)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.times.is_some_and(|times| now >= times.renew)
    }
}

impl State {
    /// Returns true if a request has to begin, which the state then counts on.
    fn begins(&mut self, now: Instant) -> bool {
        let is_refused = self.given.as_ref().is_some_and(|given| given.is_refused);
        let is_wanted = self.given.as_ref().is_none_or(|given| given.is_refused || given.is_due(now));
        if self.is_asking || !is_wanted || self.issuer.is_none() || self.earliest.is_some_and(|at| now < at) {
            return false;
        }
        if is_refused {
            self.set_back(now);
        }
        self.is_asking = true;
        self.running += 1;
        true
    }

    /// Has the next request wait, twice as long as the last time.
    fn set_back(&mut self, now: Instant) {
        let is_old = self.earliest.is_none_or(|at| now > at + PAUSES.1);
        self.pause = if is_old { PAUSES.0 } else { (self.pause * 2).min(PAUSES.1) };
        self.earliest = Some(now + self.pause);
    }

    fn take(&mut self, answer: Result<(Credentials, Option<Duration>)>) {
        let now = Instant::now();
        self.is_asking = false;
        match answer {
            Ok((credentials, valid)) => {
                let times = valid.and_then(|valid| {
                    let valid = valid.max(SHORTEST);
                    let expire = now.checked_add(valid)?;
                    Some(Times { renew: expire.checked_sub((valid / 5).min(MARGIN))?, expire })
                });
                // Connections that have logged in with the same ones need not do so again.
                let same = self.given.take().filter(|given| *given.credentials == credentials);
                self.given = Some(match same {
                    Some(given) => Given { times, ..given },
                    None => Given { credentials: Arc::new(credentials), times, is_refused: false },
                });
                self.failure = None;
            }
            Err(error) => {
                self.failure = Some(error);
                self.set_back(now);
            }
        }
    }
}

impl Renewal {
    /// Has an issuer supply the credentials from now on, in place of the one before; `None`: none does.
    pub fn set(&self, issuer: Option<Arc<dyn Issuer>>) {
        let before = {
            let mut state = self.lock();
            if state.is_closed {
                return;
            }
            let (generation, running) = (state.generation + 1, state.running);
            std::mem::replace(&mut *state, State { issuer, generation, running, ..State::default() })
        };
        // Its finaliser may call the library.
        drop(before);
        self.0.changed.send_replace(());
    }

    /// Returns true if there is an issuer.
    pub fn is_set(&self) -> bool {
        self.lock().issuer.is_some()
    }

    /// Ends the supply of credentials.
    pub fn close(&self) {
        self.set(None);
        self.lock().is_closed = true;
    }

    /// Waits until no issuer runs. Returns false if the deadline passes first.
    pub async fn has_ended(&self, context: CallContext, deadline: Instant) -> bool {
        let mut changed = self.0.changed.subscribe();
        let over = |_| async move {
            while self.lock().running > 0 {
                let _ = changed.changed().await;
            }
        };
        context.run_until(deadline, over).await.is_some()
    }

    /// Returns the credentials for a new connection, and waits for them for a while.
    pub async fn get(&self, limit: Duration) -> Result<Arc<Credentials>> {
        timeout(limit, self.answer()).await.unwrap_or_else(|_| Err(late(limit)))
    }

    /// Does the same in the context of a call.
    pub async fn get_in(&self, context: CallContext, limit: Duration) -> Result<Arc<Credentials>> {
        let answered = context.run_until(Instant::now() + limit, |_| self.answer()).await;
        answered.unwrap_or_else(|| Err(late(limit)))
    }

    /// Returns the credentials for a new connection as soon as there are any.
    async fn answer(&self) -> Result<Arc<Credentials>> {
        let mut changed = self.0.changed.subscribe();
        loop {
            self.tend();
            {
                let (state, now) = (self.lock(), Instant::now());
                if state.issuer.is_none() {
                    return Err(not_set());
                }
                // Refused ones are tried again if there are no others: the server may accept them later.
                let has_others = state.is_asking || state.failure.is_some();
                let usable = |given: &&Given| given.is_valid(now) && !(given.is_refused && has_others);
                if let Some(given) = state.given.as_ref().filter(usable) {
                    return Ok(Arc::clone(&given.credentials));
                }
                if let Some(failure) = state.failure.as_ref().filter(|_| !state.is_asking) {
                    return Err(failure.clone());
                }
            }
            let _ = changed.changed().await;
        }
    }

    /// Returns the newest credentials that no server has refused, for connections that are open.
    pub fn newest(&self) -> Option<Arc<Credentials>> {
        self.tend();
        let state = self.lock();
        let given = state.given.as_ref().filter(|given| !given.is_refused && given.is_valid(Instant::now()))?;
        Some(Arc::clone(&given.credentials))
    }

    /// Notes that a server has refused credentials.
    pub fn refused(&self, credentials: &Arc<Credentials>) {
        let mut state = self.lock();
        if let Some(given) = state.given.as_mut().filter(|given| Arc::ptr_eq(&given.credentials, credentials)) {
            given.is_refused = true;
        }
        drop(state);
        self.tend();
    }

    /// Notes that a server has accepted credentials.
    pub fn accepted(&self, credentials: &Arc<Credentials>) {
        let mut state = self.lock();
        if let Some(given) = state.given.as_mut().filter(|given| Arc::ptr_eq(&given.credentials, credentials)) {
            given.is_refused = false;
        }
    }

    /// Completes when the credentials or their issuer have changed.
    pub async fn changed(&self) {
        let _ = self.0.changed.subscribe().changed().await;
    }

    /// Asks for credentials if that is due.
    fn tend(&self) {
        let (issuer, generation) = {
            let mut state = self.lock();
            if !state.begins(Instant::now()) {
                return;
            }
            (state.issuer.clone(), state.generation)
        };
        let (running, request) = (Running(self.clone()), CredentialRequest::new(self, generation));
        let run = move || {
            let running = running;
            if let Some(issuer) = issuer {
                issuer.ask(request);
            }
            drop(running);
        };
        if let Err(error) = crate::exec::thread::start(Builder::new().name("yc-credentials".into()), run) {
            // The request was dropped, and has failed.
            let mut state = self.lock();
            if state.generation == generation {
                state.failure = Some(failed(&format!("its thread could not be started: {error}")));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

/// Counts a thread that an issuer runs on, until it is dropped.
struct Running(Renewal);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.0.changed.send_replace(());
    }
}

/// A request for credentials. It fails if it is dropped without an answer.
pub struct CredentialRequest {
    renewal: Renewal,
    /// The issuer that was asked; `None` once there is an answer.
    generation: Option<u64>,
}

impl CredentialRequest {
    fn new(renewal: &Renewal, generation: u64) -> Self {
        Self { renewal: renewal.clone(), generation: Some(generation) }
    }

    /// Supplies credentials that are valid for this time; `None`: for ever.
    pub fn give(mut self, credentials: Credentials, valid: Option<Duration>) {
        self.answer(Ok((credentials, valid)));
    }

    /// Reports why there are no credentials.
    pub fn fail(mut self, reason: &str) {
        self.answer(Err(failed(reason)));
    }

    fn answer(&mut self, answer: Result<(Credentials, Option<Duration>)>) {
        let Some(generation) = self.generation.take() else { return };
        let failure = answer.as_ref().err().cloned();
        let is_current = {
            let mut state = self.renewal.lock();
            let is_current = state.generation == generation;
            if is_current {
                state.take(answer);
            }
            is_current
        };
        // Not with the lock held: a log callback may call the library.
        if let Some(failure) = failure.filter(|_| is_current) {
            tracing::warn!("{failure}");
        }
        self.renewal.0.changed.send_replace(());
    }
}

impl Drop for CredentialRequest {
    fn drop(&mut self) {
        self.answer(Err(failed("it gave no answer")));
    }
}

/// It is no part of a configuration: all are equal.
impl PartialEq for Renewal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Renewal")
    }
}

#[cold]
fn failed(reason: &str) -> Error {
    let reason = shown(reason.as_bytes(), LONGEST_REASON);
    Error::new(ErrorKind::Auth, format!("credentials: the callback failed: {reason}"))
}

#[cold]
fn late(limit: Duration) -> Error {
    let text = format!("credentials: the callback has not answered for {limit:?}: check what it waits for");
    Error::new(ErrorKind::Auth, text)
}

#[cold]
fn not_set() -> Error {
    let text = "credentials: the configuration leaves them to a callback, and the application has set none (yc_set_credentials): \
                set it, or remove `credentials: callback`";
    Error::new(ErrorKind::Auth, text)
}

#[cfg(test)]
mod tests;
