//! What was measured, for the goals at the end.

use crate::rounds::{median, ratio};

#[derive(Default)]
pub struct Results {
    rates: Vec<Rates>,
    figures: Vec<Figure>,
}

struct Rates {
    workload: &'static str,
    threads: usize,
    entrant: String,
    operations_a_second: Vec<f64>,
}

struct Figure {
    name: &'static str,
    of: String,
    value: f64,
}

impl Results {
    pub fn keep_rates(&mut self, workload: &'static str, threads: usize, entrant: &str, rates: Vec<f64>) {
        self.rates.push(Rates { workload, threads, entrant: entrant.to_owned(), operations_a_second: rates });
    }

    pub fn keep_figure(&mut self, name: &'static str, of: &str, value: f64) {
        self.figures.push(Figure { name, of: of.to_owned(), value });
    }

    /// The throughput of YokedCache by that of another.
    pub fn ratio(&self, workload: &str, threads: usize, entrant: &str) -> Option<f64> {
        let rates = |name: &str| {
            let same = |kept: &&Rates| (kept.workload, kept.threads) == (workload, threads) && kept.entrant == name;
            self.rates.iter().find(same).map(|kept| &kept.operations_a_second)
        };
        Some(ratio(rates("YokedCache")?, rates(entrant)?))
    }

    pub fn figure(&self, name: &str, of: &str) -> Option<f64> {
        let figures: Vec<f64> =
            self.figures.iter().filter(|kept| kept.name == name && kept.of == of).map(|kept| kept.value).collect();
        (!figures.is_empty()).then(|| median(&figures))
    }
}
