//! The redis crate, used as its documentation says: one multiplexed connection that all callers share.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const KEY: usize = 16;
const VALUE: usize = 100;
const MANY: usize = 100;
/// The deadline that YokedCache has here too: long enough for a machine with other work.
const DEADLINE: Duration = Duration::from_secs(10);

/// The worker of a caller, which is the C side's.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Worker(*mut c_void);

// SAFETY: one task has it at a time.
unsafe impl Send for Worker {}

// What `driver.h` says.
unsafe extern "C" {
    safe fn bench_now() -> u64;
    safe fn bench_over() -> c_int;
    fn bench_key(worker: Worker) -> *const u8;
    fn bench_value(key: *const u8, value: *mut u8);
    fn bench_check(key: *const u8, value: *const u8, len: usize);
    fn bench_finished(worker: Worker, since: u64);
    fn bench_worker(index: c_int) -> Worker;
}

impl Worker {
    fn key(self) -> &'static [u8; KEY] {
        // SAFETY: keys are of that many bytes, and never go.
        unsafe { &*bench_key(self).cast() }
    }

    fn finished(self, since: u64) {
        // SAFETY: the worker is this caller's alone.
        unsafe { bench_finished(self, since) }
    }
}

fn value(key: &[u8; KEY]) -> [u8; VALUE] {
    let mut value = [0; VALUE];
    // SAFETY: both are as long as they have to be.
    unsafe { bench_value(key.as_ptr(), value.as_mut_ptr()) };
    value
}

fn check(key: &[u8; KEY], value: &[u8]) {
    // SAFETY: the value is of that many bytes.
    unsafe { bench_check(key.as_ptr(), value.as_ptr(), value.len()) }
}

static PEER: OnceLock<(Runtime, MultiplexedConnection)> = OnceLock::new();

fn peer() -> &'static (Runtime, MultiplexedConnection) {
    PEER.get().expect("opened first")
}

#[unsafe(no_mangle)]
pub extern "C" fn crate_open(port: c_int, multi: c_int) {
    let mut builder = if multi == 0 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build().expect("a runtime");
    let client = Client::open(format!("redis://127.0.0.1:{port}")).expect("a client");
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let connection = runtime.block_on(connecting).expect("a connection");
    assert!(PEER.set((runtime, connection)).is_ok(), "opened once");
}

async fn get(connection: &mut MultiplexedConnection, worker: Worker) {
    let key = worker.key();
    let since = bench_now();
    let value: RedisResult<Vec<u8>> = connection.get(key).await;
    check(key, &value.expect("a value"));
    worker.finished(since);
}

async fn set(connection: &mut MultiplexedConnection, worker: Worker) {
    let key = worker.key();
    let value = value(key);
    let since = bench_now();
    let stored: RedisResult<()> = connection.set(key, &value).await;
    stored.expect("stored");
    worker.finished(since);
}

async fn mget(connection: &mut MultiplexedConnection, worker: Worker) {
    let since = bench_now();
    let keys: [&[u8; KEY]; MANY] = std::array::from_fn(|_| worker.key());
    let values: RedisResult<Vec<Vec<u8>>> = connection.mget(&keys[..]).await;
    for (key, value) in keys.iter().zip(values.expect("values")) {
        check(key, &value);
    }
    worker.finished(since);
}

#[unsafe(no_mangle)]
pub extern "C" fn crate_get(worker: Worker) {
    let (runtime, connection) = peer();
    runtime.block_on(get(&mut connection.clone(), worker));
}

#[unsafe(no_mangle)]
pub extern "C" fn crate_set(worker: Worker) {
    let (runtime, connection) = peer();
    runtime.block_on(set(&mut connection.clone(), worker));
}

#[unsafe(no_mangle)]
pub extern "C" fn crate_mget(worker: Worker) {
    let (runtime, connection) = peer();
    runtime.block_on(mget(&mut connection.clone(), worker));
}

async fn task(mut connection: MultiplexedConnection, worker: Worker, sets: bool) {
    while bench_over() == 0 {
        if sets { set(&mut connection, worker).await } else { get(&mut connection, worker).await }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn crate_tasks(n: c_int, sets: c_int) {
    let (runtime, connection) = peer();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for index in 0..n {
            // SAFETY: there are as many workers as operations in flight.
            let worker = unsafe { bench_worker(index) };
            tasks.spawn(task(connection.clone(), worker, sets != 0));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task panics");
        }
    });
}
