//! The header `Content-Range`: which bytes an answer has, and of how many. Nothing but what the standard writes is taken:
//! a server that says it in another way may mean another thing.

use std::ops::Range;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes a-b/total`: the answer has these bytes. The total is not known where `*` stands.
    Part { range: Range<u64>, total: Option<u64> },
    /// `bytes */total`: what was asked for is not there.
    Unsatisfied { total: u64 },
}

/// It is not what the standard writes, or it contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A header of this length has been padded by somebody: the longest one has three numbers of 20 digits.
const LONGEST: usize = 80;

impl ContentRange {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed);
        }
        let (unit, rest) = text.split_once(' ').ok_or(Malformed)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(Malformed);
        }
        let (part, total) = rest.split_once('/').ok_or(Malformed)?;
        if part == "*" {
            return number(total).map(|total| Self::Unsatisfied { total });
        }
        let total = if total == "*" { None } else { Some(number(total)?) };
        let (first, last) = part.split_once('-').ok_or(Malformed)?;
        let (first, last) = (number(first)?, number(last)?);
        let end = last.checked_add(1).ok_or(Malformed)?;
        if first > last || total.is_some_and(|total| end > total) {
            return Err(Malformed);
        }
        Ok(Self::Part { range: first..end, total })
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(text: &str) -> Result<u64, Malformed> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, range: Range<u64>, total: Option<u64>) {
        assert_eq!(ContentRange::parse(text), Ok(ContentRange::Part { range, total }));
    }

    #[test]
    fn the_three_forms() {
        check("bytes 0-0/1", 0..1, Some(1));
        check("bytes 5-9/10", 5..10, Some(10));
        check("BYTES 5-9/*", 5..10, None);
        check("bytes 007-9/10", 7..10, Some(10));
        let empty = ContentRange::Unsatisfied { total: 0 };
        assert_eq!(ContentRange::parse("bytes */0"), Ok(empty));
        let max = u64::MAX;
        let last = max - 1;
        check(&format!("bytes 0-{last}/{max}"), 0..max, Some(max));
        assert_eq!(
            ContentRange::parse(&format!("bytes */{max}")),
            Ok(ContentRange::Unsatisfied { total: max })
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("bytes {}-9/10", "0".repeat(100_000));
        for text in [
            "",
            " ",
            "bytes",
            "bytes ",
            "bytes=0-9/10",
            "bytes: 0-9/10",
            "bytes 0-9",
            "bytes 0-9/",
            "bytes /10",
            "bytes -/10",
            "bytes -9/10",
            "bytes 0-/10",
            "bytes 0-9/10/11",
            "bytes 0-9-9/10",
            "bytes  0-9/10",
            " bytes 0-9/10",
            "bytes 0-9/10 ",
            "bytes 0 - 9/10",
            "bytes +0-9/10",
            "bytes 0-+9/10",
            "bytes 0-9/-10",
            "bytes 0x0-9/10",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "bytes 0-0/0",
            "bytes */*",
            "bytes */",
            "bytes */-1",
            "bytes *-*/10",
            "items 0-9/10",
            "bytes\u{a0}0-9/10",
            "bytes 0-9/1\u{661}0",
            "bytes 0-18446744073709551615/*",
            "bytes 0-18446744073709551616/*",
            "bytes 99999999999999999999-99999999999999999999/*",
            "bytes 0-9/18446744073709551616",
            &long,
        ] {
            assert_eq!(ContentRange::parse(text), Err(Malformed), "{text:.60}");
        }
    }

    /// No bytes make it panic, and what it takes makes sense.
    #[test]
    fn random_texts() {
        let alphabet = b"bytes 0123456789-/* \t+=9";
        let mut state = 7_u64;
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut text = String::from("bytes ");
            for _ in 0..(state >> 33) % 9 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 40).unwrap() % alphabet.len();
                text.push(char::from(alphabet[at]));
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if let Ok(ContentRange::Part { range, total }) = ContentRange::parse(&text) {
                taken += 1;
                assert!(range.start < range.end && total.is_none_or(|t| range.end <= t), "{text}");
            }
        }
        assert!(taken > 0);
    }
}
