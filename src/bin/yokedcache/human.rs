//! Writes sizes and times for people.

use std::time::Duration;

use serde_json::Value as Json;

/// The units of sizes, each 1024 times the one before.
const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a size, such as `1.2 MiB`.
#[allow(clippy::cast_precision_loss)]
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64, 0);
    // A size that would be written as 1024.0 has the next unit.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Returns a time, such as `12.3 us`, `1.25 ms`, `4.50 s`, `2m 05s`, `3h 20m` or `4d 03h`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.as_nanos() {
        0 => "0 s".to_owned(),
        1..1_000_000 => format!("{:.1} us", time.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        _ if seconds < 60 => format!("{:.2} s", time.as_secs_f64()),
        _ if seconds < 3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Returns the name and the value of a field of a report for people: the end of the name says the unit of a number.
pub fn field<'a>(name: &'a str, value: &Json) -> (&'a str, Json) {
    let Some(number) = value.as_u64() else { return (name, value.clone()) };
    let of = |unit: &str| name.strip_suffix(unit);
    if name == "bytes" {
        (name, size(number).into())
    } else if let Some(name) = of("_bytes") {
        // 0 stands for a server without a limit.
        let text = if name == "max_memory" && number == 0 { "unlimited".to_owned() } else { size(number) };
        (name, text.into())
    } else if let Some(name) = of("_ms") {
        (name, time(Duration::from_millis(number)).into())
    } else if let Some(name) = of("_us") {
        (name, time(Duration::from_micros(number)).into())
    } else if let Some(name) = of("_s") {
        (name, time(Duration::from_secs(number)).into())
    } else {
        (name, value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1_258_291, "1.2 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_have_a_unit() {
        for (millis, text) in [
            (0, "0 s"),
            (5, "5.00 ms"),
            (1250, "1.25 s"),
            (125_000, "2m 05s"),
            (12_000_000, "3h 20m"),
            (1_000_000_000, "11d 13h"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
        assert_eq!(time(Duration::from_nanos(12_300)), "12.3 us");
    }

    #[test]
    fn a_field_is_written_with_the_unit_of_its_name() {
        for (name, number, shown, text) in [
            ("bytes", 2048, "bytes", "2.0 KiB"),
            ("max_memory_bytes", 0, "max_memory", "unlimited"),
            ("value_bytes", 3, "value", "3 B"),
            ("ttl_ms", 1500, "ttl", "1.50 s"),
            ("ping_us", 250, "ping", "250.0 us"),
            ("uptime_s", 90, "uptime", "1m 30s"),
        ] {
            assert_eq!(field(name, &number.into()), (shown, text.into()));
        }
        assert_eq!(field("keys", &7.into()), ("keys", 7.into()));
    }
}
