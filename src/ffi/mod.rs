//! The C ABI: the only unsafe code. Each export translates its arguments, makes one call and translates the result.
#![allow(unsafe_code)]
#![allow(non_camel_case_types)] // C names are C's.
#![allow(clippy::missing_safety_doc)] // The header's page says it once for all: pointers must be valid or NULL.

pub mod arguments;
pub mod batch;
pub mod boundary;
pub mod cache;
pub mod channel;
pub mod command;
pub mod completion;
pub mod conditional;
pub mod credentials;
pub mod entry;
pub mod error;
pub mod events;
pub mod fork;
pub mod info;
pub mod invalidate;
pub mod keys;
pub mod lease;
pub mod log;
pub mod many;
pub mod migrate;
pub mod queue;
pub mod report;
pub mod results;
pub mod search;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod value;
pub mod version;
pub mod view;
