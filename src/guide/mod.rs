//! Pages for people who run it.

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("production.md")]
pub mod production {}

#[doc = include_str!("python.md")]
pub mod python {}
