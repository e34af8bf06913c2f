//! Numbers as people read them at a glance.

/// `0.4 s`, `12 s`, `3 m 20 s`, `5 h 1 m`, `2 d 4 h`.
pub(super) fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..10 => format!("{:.1} s", millis.max(0) as f64 / 1e3),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `999`, `12.3k`, `4.56M`: three digits that count.
pub(super) fn count(number: u64) -> String {
    const STEPS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let number = number as f64;
    match STEPS.into_iter().find(|(step, _)| number >= *step) {
        Some((step, sign)) => {
            let scaled = number / step;
            let digits = if scaled >= 100.0 {
                0
            } else if scaled >= 10.0 {
                1
            } else {
                2
            };
            format!("{scaled:.digits$}{sign}")
        }
        None => format!("{number}"),
    }
}

/// A second.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 1000.0 => format!("{}/s", count(rate as u64)),
        rate => format!("{rate:.1}/s"),
    }
}

/// `12.3 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const STEPS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match STEPS.into_iter().find(|(step, _)| bytes >= *step) {
        Some((step, sign)) => format!("{:.1} {sign}", bytes as f64 / step as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_what_counts() {
        let ages = [(-5, "0.0 s"), (420, "0.4 s"), (12_900, "12 s"), (200_000, "3 m 20 s"), (18_060_000, "5 h 1 m")];
        for (millis, words) in ages.into_iter().chain([(187_200_000, "2 d 4 h")]) {
            assert_eq!(age(millis), words);
        }
        for (number, words) in [(0, "0"), (999, "999"), (12_345, "12.3k"), (4_560_000, "4.56M"), (100_000, "100k")] {
            assert_eq!(count(number), words);
        }
        assert_eq!((rate(0.25).as_str(), rate(1900.0).as_str()), ("0.2/s", "1.90k/s"));
        assert_eq!((bytes(512).as_str(), bytes(3 << 19).as_str()), ("512 B", "1.5 MiB"));
    }
}
