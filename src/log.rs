//! Log events handed to one sink that the host chose. Nothing is installed until it does.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use once_cell::race::OnceBool;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use crate::fork;

/// Where log lines go.
pub trait Sink: Send + Sync {
    /// One line of text, without its end.
    fn write(&self, level: Level, line: &str);
}

struct Target {
    most: Level,
    sink: Box<dyn Sink>,
}

/// No lock: a child of a fork could inherit it held by a thread it does not have.
static CURRENT: ArcSwapOption<Target> = ArcSwapOption::const_empty();
static INSTALLED: OnceBool = OnceBool::new();

thread_local! {
    /// A sink that calls the library does not log about that into itself.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Sends lines up to a level to a sink; the old sink is dropped once its last line is written.
pub fn set_sink(most: Level, sink: Box<dyn Sink>) {
    // Fails only in a Rust host that has a subscriber of its own, which then gets the events, and for a thread that
    // comes second: the first one's is as good. `tracing` keeps subscribers under a lock.
    INSTALLED.get_or_init(|| fork::whole(|| tracing::subscriber::set_global_default(Forward)).is_ok());
    CURRENT.store(Some(Arc::new(Target { most, sink })));
}

/// Sends no more lines.
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

/// The message, then each field as ` name=value`.
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
