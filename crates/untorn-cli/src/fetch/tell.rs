//! What the command says: what it did, and what went wrong in words that say what to do.

use std::time::Duration;

use untorn::chunked::Identity;
use untorn::{Error, ErrorKind};

use crate::exit::{Failure, code, exit_of};
use crate::out::real;

/// A count of bytes with two decimals, for what is said once.
pub(crate) fn amount(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{:.2} {unit}", real(bytes) / real(1 << shift)),
        None => format!("{bytes} B"),
    }
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

pub(super) fn too_large(len: u64, max: u64) -> Error {
    let words =
        format!("it has {len} bytes or more, and --max-size allows {max}; nothing was published");
    Error::of_caller(ErrorKind::TooLarge, "fetch", words)
}

/// By what a file is known again.
pub(super) fn proof(identity: &Identity) -> String {
    if let Some(etag) = identity.etag.as_ref().filter(|etag| !etag.starts_with("W/")) {
        return format!("etag {etag}");
    }
    match (&identity.last_modified, &identity.digest) {
        (Some(date), _) if identity.len.is_some() => format!("of {date}"),
        (_, Some(digest)) => format!("by its {}", digest.algo),
        _ => "unproven".to_owned(),
    }
}

/// Why bytes of one identity are not gone on with for another.
pub(super) fn difference(was: &Identity, is: &Identity) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let (Some(was), Some(is)) = (was.len, is.len)
        && was != is
    {
        return format!("remote changed: it had {was} bytes and has {is}");
    }
    let both = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
    if both(&was.etag, &is.etag) {
        let (was, is) = (text(&was.etag), text(&is.etag));
        return format!("remote changed: its etag was {was} and is {is}");
    }
    if both(&was.last_modified, &is.last_modified) {
        let (was, is) = (text(&was.last_modified), text(&is.last_modified));
        return format!("remote changed: its date was {was} and is {is}");
    }
    match (&was.digest, &is.digest) {
        (Some(was), Some(is)) if was.algo == is.algo && was != is => {
            "an earlier run was given another --sum".to_owned()
        }
        _ => "nothing that the server sends proves that it is the same file".to_owned(),
    }
}

/// An error without the name of the operation before it.
pub(super) fn bare(error: &Error) -> String {
    let text = error.to_string();
    let bare = text.strip_prefix(error.operation()).and_then(|text| text.strip_prefix(": "));
    bare.map_or_else(|| text.clone(), str::to_owned)
}

/// An error of the file or of the network, told of what it concerns; `kept` says what is left of the work.
pub(super) fn failure(error: &Error, url: &str, kept: &str) -> Failure {
    let ours = error.path().is_some();
    let what = if ours { error.to_string() } else { format!("{url}: {}", bare(error)) };
    let advice = match error.kind() {
        ErrorKind::Precondition if !ours => "; --restart starts over",
        ErrorKind::Locked => "; --wait waits for it",
        ErrorKind::Damaged => "; check --sum, and whether the URL leads to another file now",
        ErrorKind::AlreadyExists => "; without --no-clobber it is replaced",
        ErrorKind::NewerFormat => "; use the newer `untorn` that wrote it",
        ErrorKind::NotFound if ours => "; make the directory first",
        ErrorKind::NotFound => "; check the URL",
        ErrorKind::Io | ErrorKind::TimedOut | ErrorKind::WouldBlock if !ours && kept.is_empty() => {
            "; run the same command again when the server can be reached"
        }
        ErrorKind::NoSpace => "; make room and run the same command again",
        _ => "",
    };
    let exit = match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => code::IO,
        kind => exit_of(kind),
    };
    let kept = if kept.is_empty() { String::new() } else { format!("; {kept}") };
    Failure::told(error, format!("{what}{advice}{kept}"), exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_decimals() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (2_802_450_432, "2.61 GiB"),
            (4_574_101_504, "4.26 GiB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }

    #[test]
    fn what_differs_is_named() {
        let of = |len, etag: &str| Identity::new().len(len).etag(etag);
        let told = difference(&of(9, "\"a\""), &of(8, "\"b\""));
        assert_eq!(told, "remote changed: it had 9 bytes and has 8");
        let told = difference(&of(9, "\"a\""), &of(9, "\"b\""));
        assert_eq!(told, "remote changed: its etag was \"a\" and is \"b\"");
        let told = difference(&Identity::new(), &of(9, "\"b\""));
        assert!(told.contains("nothing"), "{told}");
        assert_eq!(proof(&of(9, "\"b\"")), "etag \"b\"");
        assert_eq!(proof(&of(9, "W/\"b\"").last_modified("today")), "of today");
    }

    #[test]
    fn silence_of_the_network_is_an_error_of_input() {
        let of = |kind| Error::of_caller(kind, "fetch", "words");
        let told = |kind| {
            let failure = failure(&of(kind), "http://h/f", "1 B is kept");
            let Failure::Told(told) = failure else { unreachable!() };
            serde_json::to_value(*told).unwrap()
        };
        assert_eq!(told(ErrorKind::TimedOut)["exit"], 74);
        assert_eq!(told(ErrorKind::WouldBlock)["exit"], 74);
        let changed = told(ErrorKind::Precondition);
        assert_eq!(changed["exit"], 12);
        let message = "http://h/f: words; --restart starts over; 1 B is kept";
        assert_eq!(changed["message"], message);
    }
}
