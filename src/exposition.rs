//! The text format that Prometheus scrapes, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::{Display, Write};

/// What a family's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One that only grows.
    Counter,
    /// One that comes and goes.
    Gauge,
    /// Counts up to bounds, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A text that grows by families of samples, each sample with labels that all have.
pub struct Exposition {
    text: String,
    common: String,
}

impl Exposition {
    /// An empty text.
    pub fn new(common: &[(&str, &str)]) -> Self {
        Self { text: String::new(), common: common.iter().map(label).collect::<Vec<_>>().join(",") }
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Begins a family; its samples follow before the next begins.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family, with labels beside the common ones.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}{{{}", self.common);
        for own in labels {
            let _ = write!(self.text, ",{}", label(own));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// The text; each line of it ends.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn label((name, value): &(&str, &str)) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_helps_are_escaped_and_each_line_ends() {
        let mut exposition = Exposition::new(&[("a", "back\\slash"), ("b", "quo\"te")]);
        exposition.single("up", Kind::Gauge, "One\nor \\ nothing.", 1);
        exposition.family("seconds", Kind::Histogram, "Times.");
        exposition.sample("seconds_bucket", &[("le", "+Inf"), ("c", "new\nline")], 0.25);
        let wanted = r#"# HELP up One\nor \\ nothing.
# TYPE up gauge
up{a="back\\slash",b="quo\"te"} 1
# HELP seconds Times.
# TYPE seconds histogram
seconds_bucket{a="back\\slash",b="quo\"te",le="+Inf",c="new\nline"} 0.25
"#;
        assert_eq!(exposition.into_text(), wanted);
    }
}
