//! YokedCache: a cache with identical semantics over its backends, behind a C ABI.
//!
//! The product is the C ABI in [`ffi`], whose header is `include/yokedcache.h`.
//! The other modules are public for this project's own tool (`src/bin`), tests and benchmarks.
//!
//! ```text
//! ffi  →  cache (what operations mean)  →  [layer: fallback, replay]  →  backend (where entries live)
//!  ↓       key glob fuzzy ttl latency                                       memory │ remote: redis, memcached
//! queue (operations that complete later)  →  runtime (one thread)            net (connections of both)
//! ```

mod allocation;
pub mod backend;
mod backoff;
pub mod byte_strings;
pub mod cache;
pub mod caller;
mod clock;
pub mod config;
pub mod entry;
pub mod error;
pub mod exposition;
pub mod ffi;
mod fork;
pub mod fuzzy;
pub mod glob;
pub mod guide;
pub mod key;
pub mod latency;
mod layer;
mod log;
pub mod net;
pub mod operation;
mod parker;
pub mod queue;
pub mod runtime;
mod shown;
mod thread;
pub mod ttl;
mod util;
pub mod value;
pub mod wait;
