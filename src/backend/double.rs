//! For tests: the memory backend, whose gets do as a test says, and which can be out of reach.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::Semaphore;

use super::memory::Memory;
use super::{
    Activity, Backend, CopiedEntry, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry, OpFuture, Operation,
    Outcome, Page, ScanCursor, done, pending,
};
use crate::config::{BackendConfig, Config};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::inbox::{Delivery, Feed};
use crate::lease::{LeaseOptions, Loaded};
use crate::message::Filter;
use crate::value::Value;

/// The future that a get waits for; its output replaces the value in memory, if it has one.
pub type Get = Box<dyn Fn(&[u8]) -> BoxFuture<'static, Option<Result<Option<Value>>>> + Send + Sync>;

/// The memory backend behind a get of the test's own.
pub struct Double {
    memory: Memory,
    at_once: bool,
    /// True if it reports that its keys are on one server.
    pub one_server: bool,
    get: Get,
    cable: Cable,
}

/// Puts a double out of reach, and back.
#[derive(Clone, Default)]
pub struct Cable {
    down: Arc<Mutex<Option<ErrorKind>>>,
    cuts_lease: Arc<AtomicBool>,
}

impl Cable {
    /// Every call fails like this from now on; `None`: none does.
    pub fn fail(&self, kind: Option<ErrorKind>) {
        *self.down.lock().unwrap() = kind;
    }

    /// The reply with the next lease is lost, and every call from then on fails.
    pub fn cut_at_lease(&self) {
        self.cuts_lease.store(true, SeqCst);
    }
}

impl Double {
    /// A backend like memory that can be put out of reach.
    pub fn on_a_cable(config: &Config) -> (Self, Cable) {
        let double = Self::new(config, false, Box::new(|_| Box::pin(async { None })));
        let cable = double.cable.clone();
        (double, cable)
    }

    /// Returns the future of a call, or the failure while the double is out of reach.
    fn unless_down<'a, T: Send + 'a>(&self, reply: OpFuture<'a, T>) -> OpFuture<'a, T> {
        match *self.cable.down.lock().unwrap() {
            Some(kind) => done(Err(Error::new(kind, "the double is down"))),
            None => reply,
        }
    }

    /// Reads a key for loading, like a server that is asked for the lease: its reply may be lost.
    async fn lease(&self, context: CallContext, key: &[u8], options: LeaseOptions<'_>) -> Result<Outcome> {
        let outcome = self.memory.call(context, Operation::GetOrLease { key, options }).await;
        let Ok(Outcome::Loaded(Loaded { lease: Some(lease), .. })) = &outcome else { return outcome };
        options.asked_for(lease);
        if self.cable.cuts_lease.swap(false, SeqCst) {
            self.cable.fail(Some(ErrorKind::Connect));
            return Err(Error::new(ErrorKind::Connect, "the reply was lost"));
        }
        outcome
    }

    /// A backend whose gets do this; `at_once`: it says that it answers so.
    pub fn new(config: &Config, at_once: bool, get: Get) -> Self {
        let BackendConfig::Memory(memory) = &config.backend else { panic!("not a memory cache") };
        Self { memory: Memory::new(memory), at_once, one_server: false, get, cable: Cable::default() }
    }
}

/// Gets wait here until they are let through.
#[derive(Clone)]
pub struct Gate {
    passes: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts a future as waiting as long as it is there.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Gate {
    /// Returns a gate that is closed.
    pub fn closed() -> Self {
        Self { passes: Arc::new(Semaphore::new(0)), waiting: Arc::default() }
    }

    /// Lets so many through.
    pub fn open(&self, gets: usize) {
        self.passes.add_permits(gets);
    }

    /// Returns the number of futures of gets.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Gets that wait here.
    pub fn get(&self) -> Get {
        let gate = self.clone();
        Box::new(move |_| {
            gate.waiting.fetch_add(1, SeqCst);
            let (passes, waiting) = (gate.passes.clone(), Waiting(gate.waiting.clone()));
            Box::pin(async move {
                let _waiting = waiting;
                passes.acquire().await.unwrap().forget();
                None
            })
        })
    }
}

impl Backend for Double {
    fn info(&self) -> Info {
        Info { name: "double", answers_at_once: self.at_once, is_one_server: self.one_server, ..self.memory.info() }
    }

    fn instance(&self) -> u64 {
        self.memory.instance()
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        let first = (self.get)(key);
        self.unless_down(pending(async move {
            match first.await {
                Some(answer) => answer,
                None => self.memory.get(context, key).await,
            }
        }))
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        self.unless_down(self.memory.set(context, entry))
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        self.unless_down(match operation {
            Operation::GetOrLease { key, options } => pending(self.lease(context, key, options)),
            Operation::Get { key } => pending(self.get(context, key).map_ok(Outcome::found)),
            Operation::GetMany { keys } => pending(
                join_all(keys.iter().map(|key| self.get(context, key))).map(|values| Ok(Outcome::Values(values))),
            ),
            other => self.memory.call(context, other),
        })
    }

    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page> {
        self.unless_down(self.memory.scan(context, filter, from, limit))
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        self.unless_down(self.memory.export(context, keys))
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        self.unless_down(self.memory.import(context, entries, versions, if_present))
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        self.unless_down(self.memory.tag_versions(context, tags, missing))
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        self.unless_down(self.memory.invalidate_hashes(context, tags))
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        self.memory.subscribe(filter, delivery)
    }

    fn activity(&self) -> Activity {
        self.memory.activity()
    }

    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        self.memory.close(context, deadline)
    }
}
