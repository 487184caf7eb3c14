//! Values as people read them: three significant digits and a unit.

/// `value` in `unit`, a unit of pprof: nanoseconds become a duration, bytes KiB and the like, counts k and M.
pub fn format(value: i64, unit: &str) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs() as f64;
    let text = match unit {
        "nanoseconds" => {
            scaled(size, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 6e10), ("h", 3.6e12)])
        }
        "microseconds" => scaled(size, &[("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 6e7), ("h", 3.6e9)]),
        "milliseconds" => scaled(size, &[("ms", 1.0), ("s", 1e3), ("min", 6e4), ("h", 3.6e6)]),
        "seconds" => scaled(size, &[("s", 1.0), ("min", 60.0), ("h", 3600.0)]),
        "bytes" => {
            let powers = |power: i32| 1024f64.powi(power);
            scaled(
                size,
                &[("B", 1.0), ("KiB", powers(1)), ("MiB", powers(2)), ("GiB", powers(3)), ("TiB", powers(4))],
            )
        }
        _ => scaled(size, &[("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)]),
    };
    format!("{sign}{text}")
}

/// A share as a percentage.
pub fn percent(part: i64, total: i64) -> String {
    if total == 0 {
        return "-".to_owned();
    }
    format!("{:.1}%", part as f64 / total as f64 * 100.0)
}

fn scaled(size: f64, units: &[(&str, f64)]) -> String {
    let fits = units.iter().rev().find(|(_, factor)| size >= *factor).or(units.first());
    let Some((unit, factor)) = fits else { return size.to_string() };
    let number = size / factor;
    let digits = match number {
        _ if *factor == 1.0 => 0,
        _ if number < 10.0 => 2,
        _ if number < 100.0 => 1,
        _ => 0,
    };
    let space = if unit.is_empty() { "" } else { " " };
    format!("{number:.digits$}{space}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, unit, expect) in [
            (0, "nanoseconds", "0 ns"),
            (999, "nanoseconds", "999 ns"),
            (8_730_000_000, "nanoseconds", "8.73 s"),
            (-90_000_000_000, "nanoseconds", "-1.50 min"),
            (1_536, "bytes", "1.50 KiB"),
            (i64::MIN, "bytes", "-8388608 TiB"),
            (12_345, "count", "12.3 k"),
            (7, "", "7"),
        ] {
            assert_eq!(format(value, unit), expect);
        }
        assert_eq!((percent(1, 3), percent(1, 0)), ("33.3%".to_owned(), "-".to_owned()));
    }
}
