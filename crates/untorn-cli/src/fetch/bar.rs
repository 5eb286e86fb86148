//! The line that a person watches: where in the file bytes are, where they are coming in, how long it may take.

use std::ops::Range;

use crate::out::{real, size, whole};

/// What the line shows.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    /// `None` if the server does not say.
    pub(crate) total: Option<u64>,
    pub(crate) present: &'a [Range<u64>],
    pub(crate) in_flight: &'a [Range<u64>],
    /// Bytes per second.
    pub(crate) rate: f64,
}

/// The widest bar. A wider one says nothing more.
const WIDEST: usize = 48;
/// A narrower bar says nothing.
const NARROWEST: usize = 8;
/// A name takes at most this many columns; its end tells files apart.
const NAME: usize = 32;

impl Shown<'_> {
    /// The line, of at most `width` columns: as much of it as fits.
    pub(crate) fn line(&self, width: usize) -> String {
        let name = shortened(self.name, NAME.min(width / 3));
        let lens = self.present.iter().map(|range| range.end.saturating_sub(range.start));
        let have = lens.fold(0, u64::saturating_add);
        let mut facts = Vec::new();
        match self.total {
            Some(total) => {
                facts.push(percent(have, total));
                facts.push(of_total(have, total));
            }
            None => facts.push(size(have)),
        }
        facts.push(rate(self.rate));
        if !self.in_flight.is_empty() {
            facts.push(format!("{} conn", self.in_flight.len()));
        }
        let left = self.total.map(|total| total.saturating_sub(have)).filter(|left| *left > 0);
        if let Some(left) = left.filter(|_| self.rate >= 1.0) {
            facts.push(format!("eta {}", time(whole(real(left) / self.rate))));
        }
        // What matters least stands last.
        let mut tail = String::new();
        for (at, fact) in facts.iter().enumerate() {
            let apart = if at == 0 { " " } else { "  " };
            if name.chars().count() + tail.len() + apart.len() + fact.len() <= width {
                tail.push_str(apart);
                tail.push_str(fact);
            } else {
                break;
            }
        }
        let room = width.saturating_sub(name.chars().count() + tail.len() + 3).min(WIDEST);
        match self.total.filter(|total| *total > 0 && room >= NARROWEST) {
            Some(total) => format!("{name} [{}]{tail}", self.cells(room, total)),
            None => format!("{name}{tail}"),
        }
    }

    /// Only where in the file bytes are.
    pub(crate) fn picture(&self, width: usize) -> String {
        let lens = self.present.iter().map(|range| range.end.saturating_sub(range.start));
        let have = lens.fold(0, u64::saturating_add);
        match self.total {
            Some(total) => {
                let cells = self.cells(width.min(WIDEST), total);
                format!("{} [{cells}] {}", shortened(self.name, NAME), percent(have, total))
            }
            None => format!("{} {}", shortened(self.name, NAME), size(have)),
        }
    }

    /// `#`: all bytes of the cell are there; `:`: some are coming in; `.`: some are missing.
    fn cells(&self, count: usize, total: u64) -> String {
        let edge = |at: usize| {
            let edge = u128::from(total) * at as u128 / count as u128;
            u64::try_from(edge).unwrap_or(total)
        };
        let cell = |at: usize| {
            // Of a file with fewer bytes than cells a cell shows the byte that it lies in.
            let start = edge(at);
            let end = edge(at + 1).max(start.saturating_add(1));
            if self.present.iter().any(|range| range.start <= start && end <= range.end) {
                return '#';
            }
            let coming = |range: &Range<u64>| range.start < end && start < range.end;
            if self.in_flight.iter().any(coming) { ':' } else { '.' }
        };
        (0..count).map(cell).collect()
    }
}

fn percent(have: u64, total: u64) -> String {
    // 100.0 is said only of all.
    let share = if total == 0 { 1000 } else { u128::from(have) * 1000 / u128::from(total) };
    format!("{}.{} %", share / 10, share % 10)
}

/// Both in the unit of the second.
fn of_total(have: u64, total: u64) -> String {
    const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| total >> shift > 0).unwrap_or(("B", 0));
    if shift == 0 {
        return format!("{have}/{total} B");
    }
    let part = |bytes: u64| real(bytes) / real(1 << shift);
    format!("{:.2}/{:.2} {unit}", part(have), part(total))
}

/// Three digits are enough, for they change all the time.
fn rate(per_second: f64) -> String {
    let text = size(whole(per_second));
    let short = text.split_once('.').filter(|(digits, _)| digits.len() >= 3);
    match short.and_then(|(digits, rest)| Some((digits, rest.split_once(' ')?.1))) {
        Some((digits, unit)) => format!("{digits} {unit}/s"),
        None => format!("{text}/s"),
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..360_000 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => "long".to_owned(),
    }
}

/// Control characters would move the cursor; of a long name the end stays.
fn shortened(name: &str, width: usize) -> String {
    let clean: Vec<char> = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.len() <= width {
        return clean.into_iter().collect();
    }
    let kept = width.saturating_sub(2);
    let end = clean.get(clean.len() - kept..).unwrap_or_default();
    if width < 3 { String::new() } else { format!("..{}", end.iter().collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A literal array of one range looks like a mistake to the compiler's lints.
    fn one(range: Range<u64>) -> [Range<u64>; 1] {
        [range]
    }

    #[test]
    fn the_line_of_the_manual() {
        let total = 4_574_101_504;
        let cell = total / 48;
        let present = [0..8 * cell, 9 * cell..26 * cell + 425_000_000];
        let in_flight = [8 * cell..9 * cell, 40 * cell..41 * cell];
        let shown = Shown {
            name: "model.gguf",
            total: Some(total),
            present: &present,
            in_flight: &in_flight,
            rate: 118.0 * 1_048_576.0,
        };
        assert_eq!(
            shown.line(140),
            "model.gguf [#######::#####################.........::.......] 61.3 %  \
             2.61/4.26 GiB  118 MiB/s  2 conn  eta 14 s"
        );
        assert_eq!(
            shown.line(80),
            "model.gguf [##:#######...:..] 61.3 %  2.61/4.26 GiB  118 MiB/s  2 conn  eta 14 s"
        );
    }

    fn cells(count: usize, total: u64, present: &[Range<u64>], in_flight: &[Range<u64>]) -> String {
        let shown = Shown { name: "", total: Some(total), present, in_flight, rate: 0.0 };
        shown.cells(count, total)
    }

    #[test]
    fn a_cell_is_full_only_when_all_its_bytes_are_there() {
        assert_eq!(cells(10, 1000, &[0..100, 250..400], &[400..450, 999..1000]), "#..#:....:");
        assert_eq!(cells(10, 1000, &one(0..99), &[]), "..........");
        assert_eq!(cells(10, 1000, &one(0..1000), &[]), "##########");
        assert_eq!(cells(10, 1000, &one(0..999), &one(999..1000)), "#########:");
        // Fewer bytes than cells.
        assert_eq!(cells(8, 2, &one(0..1), &one(1..2)), "####::::");
        let max = u64::MAX;
        assert_eq!(cells(4, max, &one(0..max), &[]), "####");
    }

    #[test]
    fn lines_fit_whatever_the_width() {
        let present = [0..GIB, 2 * GIB..3 * GIB];
        let in_flight = one(GIB..2 * GIB);
        for name in [
            "model.gguf",
            "",
            "a name that is much longer than what there is room for",
            "a\r\x1b[2Jb",
        ] {
            for total in [None, Some(0), Some(1), Some(4 * GIB), Some(u64::MAX)] {
                for rate in [0.0, 0.5, 1e6, 1e18, f64::NAN] {
                    let shown =
                        Shown { name, total, present: &present, in_flight: &in_flight, rate };
                    for width in 0..200 {
                        let line = shown.line(width);
                        assert!(line.len() <= width, "{width}: {line}");
                        assert!(!line.contains(char::is_control), "{line}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let present = one(0..1_572_864);
        let line = |total, rate| {
            Shown { name: "f", total, present: &present, in_flight: &[], rate }.line(80)
        };
        assert_eq!(line(None, 1024.0), "f 1.5 MiB  1.0 KiB/s");
        let done = line(Some(1_572_864), 1024.0);
        assert!(done.contains("#] 100.0 %  1.50/1.50 MiB") && !done.contains("eta"), "{done}");
        assert!(!line(Some(2_000_000), 0.0).contains("eta"));
        assert!(line(Some(1_572_865), 0.0).contains("99.9 %"), "not all");
        let line = |width| {
            Shown { name: "f", total: Some(GIB), present: &present, in_flight: &[], rate: 1024.0 }
                .line(width)
        };
        assert_eq!(line(24), "f 0.1 %  0.00/1.00 GiB");
        assert_eq!(line(10), "f 0.1 %");
    }

    #[test]
    fn times() {
        assert_eq!(time(59), "59 s");
        assert_eq!(time(61), "1 min 01 s");
        assert_eq!(time(3660), "1 h 01 min");
        assert_eq!(time(u64::MAX), "long");
    }

    #[test]
    fn of_a_long_name_the_end_stays() {
        assert_eq!(shortened("model-00001-of-00030.safetensors", 16), "..30.safetensors");
        assert_eq!(shortened("a\nb", 16), "a?b");
    }
}
