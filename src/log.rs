//! Passes log events to the sink that the host sets. Nothing is installed before.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use once_cell::race::OnceBool;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use crate::exec::fork;

/// A receiver of log lines.
pub trait Sink: Send + Sync {
    /// Writes one line of text, without a line end.
    fn write(&self, level: Level, line: &str);
}

struct Target {
    most: Level,
    sink: Box<dyn Sink>,
}

/// Not a lock: a child of a fork could inherit it locked by a thread that does not exist there.
static CURRENT: ArcSwapOption<Target> = ArcSwapOption::const_empty();
static INSTALLED: OnceBool = OnceBool::new();

thread_local! {
    /// Set while the sink runs: calls of the sink to the library write no log lines.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Sets the sink and its level. The previous sink is dropped after its last line is written.
pub fn set_sink(most: Level, sink: Box<dyn Sink>) {
    // Fails only in a Rust host that has a subscriber of its own, which then gets the events, and for a thread that
    // comes second: the first one's is as good. `tracing` keeps subscribers under a lock.
    INSTALLED.get_or_init(|| fork::whole(|| tracing::subscriber::set_global_default(Forward)).is_ok());
    CURRENT.store(Some(Arc::new(Target { most, sink })));
}

/// Removes the sink.
pub fn clear_sink() {
    CURRENT.store(None);
}

fn target_for(level: Level) -> Option<Arc<Target>> {
    CURRENT.load_full().filter(|target| level <= target.most)
}

struct Forward;

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("yokedcache") && target_for(*metadata.level()).is_some()
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(target) = target_for(*event.metadata().level()).filter(|_| !WRITING.replace(true)) {
            let mut line = Line::default();
            event.record(&mut line);
            target.sink.write(*event.metadata().level(), &line.0);
            WRITING.set(false);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Formats the message, then each field as ` name=value`.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
