//! Values written as text: times, sizes, whole numbers and percentages, and limits written back as text.

/// A name for a multiple of a base unit.
pub(super) type Unit = (&'static str, u64);

/// Units of time in milliseconds, greatest first.
pub(super) const TIMES: &[Unit] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes; those that limits are written in come first, greatest first.
pub(super) const SIZES: &[Unit] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("K", 1_000),
];

/// `250ms`, `0.5`, `1.5h` in whole milliseconds; a bare number is seconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
    let exact = decimal(number)? * *factor as f64;
    // Zero means "never", so a tiny time must not become zero, not even one that is zero as a float already.
    let vanishes = exact < 1.0 && number.contains(|digit| matches!(digit, '1'..='9'));
    // `as` saturates: an enormous number stays out of any range.
    (!vanishes).then_some(exact.round() as u64)
}

/// The seconds that a bare number stands for; `None` for a time with a unit.
pub(super) fn bare_seconds(text: &str) -> Option<f64> {
    let (number, unit) = split(text);
    unit.is_empty().then(|| decimal(number))?
}

/// A time as above, if it is one of whole seconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    milliseconds(text).filter(|time| time.is_multiple_of(1000)).map(|time| time / 1000)
}

/// `8388608`, `8MiB`, `64k` in bytes; the letters in any case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    count(number)?.checked_mul(*factor)
}

/// A whole number in decimal digits.
pub(super) fn count(text: &str) -> Option<u64> {
    let digits = text.trim();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// `10`, `10%`, `2.5` as a number from 0 to 100.
pub(super) fn percent(text: &str) -> Option<f64> {
    let (number, unit) = split(text);
    let number = decimal(number).filter(|number| *number <= 100.0);
    number.filter(|_| matches!(unit, "" | "%"))
}

/// A limit in the greatest unit that is exact, as a person would write it.
pub(super) fn written(value: u64, units: &[Unit]) -> String {
    let exact = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    exact.map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim_start())
}

/// Digits with at most one point between them; never infinite, never "not a number".
fn decimal(text: &str) -> Option<f64> {
    let digit_at = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    let framed = digit_at(text.bytes().next()) && digit_at(text.bytes().last());
    let number = framed.then(|| text.parse::<f64>().ok())??;
    number.is_finite().then_some(number)
}
