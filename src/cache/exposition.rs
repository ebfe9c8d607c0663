//! Writes the text format of Prometheus, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::{Display, Write};

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only increases.
    Counter,
    /// A number that increases and decreases.
    Gauge,
    /// Counts below bounds, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A text of metric families. Every sample has the common labels.
pub struct Exposition {
    text: String,
    common: String,
}

impl Exposition {
    /// Creates an empty text.
    pub fn new(common: &[(&str, &str)]) -> Self {
        Self { text: String::new(), common: common.iter().map(label).collect::<Vec<_>>().join(",") }
    }

    /// Appends a family with one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Starts a family. Its samples follow before the next family starts.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Appends a sample of the family, with labels in addition to the common ones.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}{{{}", self.common);
        for own in labels {
            let _ = write!(self.text, ",{}", label(own));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// Returns the text. Every line has a line end.
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
