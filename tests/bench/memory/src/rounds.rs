//! Interleaving: in each round everyone has a turn, and the next round begins with the next.

/// What everyone measured in every round. Others' work on the machine, and its
/// temperature, meet all alike; so only figures of the same round are compared.
pub fn interleave<T>(rounds: usize, entrants: usize, mut measure: impl FnMut(usize) -> T) -> Vec<Vec<T>> {
    let mut measured: Vec<Vec<T>> = (0..entrants).map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for turn in 0..entrants {
            let entrant = (round + turn) % entrants;
            measured[entrant].push(measure(entrant));
        }
    }
    measured
}

pub fn median(figures: &[f64]) -> f64 {
    percentile(&mut figures.to_vec(), 0.5)
}

/// The median of the ratios of each round.
pub fn ratio(figures: &[f64], of: &[f64]) -> f64 {
    let ratios: Vec<f64> = figures.iter().zip(of).map(|(figure, of)| figure / of).collect();
    median(&ratios)
}

/// The figure below which that share of them lies; NaN without figures.
pub fn percentile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    figures.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
