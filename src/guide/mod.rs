//! The guide: one page for each topic, for users, operators and contributors.
//!
//! The pages are Markdown files that link to each other by file name, for readers of the repository. Here each page
//! begins with definitions of the same links, which take precedence, so that they lead to the modules below. In the
//! same way, pictures are replaced by definitions that contain them.

macro_rules! pages {
    ($($(#[$pictures:meta])? $name:ident $file:literal)*) => { $(
        #[doc = include_str!("links.txt")]
        $(#[$pictures])?
        #[doc = include_str!($file)]
        pub mod $name {}
    )* };
}

pages! {
    semantics "semantics.md"
    loading "loading.md"
    errors "errors.md"
    configuration "configuration.md"
    redis "redis.md"
    memcached "memcached.md"
    managed "managed.md"
    views "views.md"
    near "near.md"
    channels "channels.md"
    events "events.md"
    integrations "integrations.md"
    queue "queue.md"
    threads "threads.md"
    operating "operating.md"
    reports "reports.md"
    tool "tool.md"
    #[cfg_attr(doc, doc = include_str!(concat!(env!("OUT_DIR"), "/pictures.txt")))]
    performance "performance.md"
    coming_from "coming_from.md"
    python "python.md"
    support "support.md"
    security "security.md"
    design "design.md"
    protocols "protocols.md"
    contributing "contributing.md"
}
