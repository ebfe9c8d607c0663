//! YokedCache: a cache with identical semantics over its backends, behind a C ABI.
//!
//! The product is the C ABI in [`ffi`], whose header is `include/yokedcache.h`. [`guide`] is the documentation for users,
//! operators and contributors; its page [`guide::design`] describes how the parts work together.
//! The other modules are public for this project's own tool (`src/bin`), tests and benchmarks.
//!
//! ```text
//! ffi  →  cache (what operations mean)  →  [layer: fallback, replay]  →  backend (where entries live)
//!  ↓       key  ttl  fuzzy  config                                          memory │ remote: redis, memcached
//! queue (operations that complete later)                                     net (connections of both)
//!         exec (call contexts, the runtime's one thread)   util (clock, globs, random numbers)
//! ```

pub mod backend;
pub mod cache;
pub mod config;
pub mod exec;
pub mod ffi;
pub mod fuzzy;
pub mod guide;
mod layer;
pub mod net;
pub mod queue;
pub mod util;

// The types that all modules share.
pub mod command;
pub mod credentials;
pub mod entry;
pub mod error;
pub mod event;
pub mod explanation;
pub mod inbox;
pub mod key;
pub mod lease;
mod log;
pub mod message;
pub mod naming;
pub mod operation;
pub mod tag_names;
pub mod ttl;
pub mod value;
