//! What the head of an answer says, typed: how much there is, which version it is of, in what form it comes.
//!
//! Headers come from strangers. One that does not parse, that is longer than it could need to be, or that stands there
//! twice with two values, says nothing.

use std::time::{Duration, SystemTime};

use untorn::chunked::Identity;
use ureq::http::HeaderMap;

use super::content_range::{ContentRange, Malformed};

/// An `ETag` or a date of more bytes says nothing.
const LONGEST: usize = 1024;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `Content-Length`.
    pub(crate) len: Option<u64>,
    /// `Content-Range`.
    pub(crate) range: Option<Result<ContentRange, Malformed>>,
    pub(crate) version: Version,
    /// A `Content-Encoding` other than `identity`.
    pub(crate) encoding: Option<String>,
    /// Many ranges in one body, each with a head of its own.
    pub(crate) multipart: bool,
    /// `Retry-After`, from now on.
    pub(crate) retry_after: Option<Duration>,
}

/// What tells one version of the remote file from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) etag: Option<ETag>,
    /// As the server sent it; it is a date.
    pub(crate) last_modified: Option<String>,
}

/// An `ETag` as the server sent it, with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ETag {
    /// Two files with the same one are the same byte for byte.
    Strong(String),
    /// It begins with `W/`: two files with the same one may differ.
    Weak(String),
}

impl Head {
    pub(crate) fn new(status: u16, headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name: &str| single(headers, name);
        let range = headers.contains_key("content-range").then(|| {
            text("content-range").ok_or(Malformed).and_then(|text| ContentRange::parse(&text))
        });
        let media = text("content-type").unwrap_or_default().to_ascii_lowercase();
        let encoding = headers.contains_key("content-encoding").then(|| {
            // One that cannot be read is one that cannot be undone.
            text("content-encoding").unwrap_or_else(|| "unknown".to_owned())
        });
        Self {
            status,
            // In pieces of their own the bytes count, not what is said beside them.
            len: text("content-length")
                .filter(|_| !headers.contains_key("transfer-encoding"))
                .and_then(|text| digits(&text)),
            range,
            version: Version {
                etag: text("etag").and_then(ETag::parse),
                last_modified: text("last-modified").filter(|text| date(text).is_some()),
            },
            encoding: encoding
                .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")),
            multipart: media.starts_with("multipart/byteranges"),
            retry_after: text("retry-after").and_then(|text| wait(&text, now)),
        }
    }
}

impl Version {
    /// The value of `If-Range`: a weak `ETag` is not allowed there.
    pub(crate) fn condition(&self) -> Option<&str> {
        match &self.etag {
            Some(ETag::Strong(tag)) => Some(tag),
            _ => self.last_modified.as_deref(),
        }
    }

    /// The first thing that both know and that differs: its name, what it was and what it is.
    pub(crate) fn difference(&self, now: &Self) -> Option<(&'static str, String, String)> {
        // A server may call the same file by a strong tag here and by a weak one there; of one kind two tags are two files.
        let tags = match (&self.etag, &now.etag) {
            (Some(ETag::Strong(was)), Some(ETag::Strong(is)))
            | (Some(ETag::Weak(was)), Some(ETag::Weak(is))) => Some((was, is)),
            _ => None,
        };
        if let Some((was, is)) = tags.filter(|(was, is)| was != is) {
            return Some(("etag", was.clone(), is.clone()));
        }
        let dates = self.last_modified.as_ref().zip(now.last_modified.as_ref());
        let (was, is) = dates.filter(|(was, is)| was != is)?;
        Some(("date", was.clone(), is.clone()))
    }

    /// What the store keeps of it.
    pub(crate) fn identity(&self, len: Option<u64>, source: &str) -> Identity {
        let mut identity = Identity::new().source(source);
        identity.len = len;
        identity.etag = self.etag.as_ref().map(|tag| tag.text().to_owned());
        identity.last_modified.clone_from(&self.last_modified);
        identity
    }

    /// When it was changed last.
    pub(crate) fn changed_at(&self) -> Option<SystemTime> {
        self.last_modified.as_deref().and_then(date)
    }
}

impl ETag {
    /// `"..."` or `W/"..."`; a tag without quotes is none.
    fn parse(text: String) -> Option<Self> {
        let weak = text.starts_with("W/");
        let quoted = text.strip_prefix("W/").unwrap_or(&text);
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let sound = inner.bytes().all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte));
        if !sound {
            return None;
        }
        Some(if weak { Self::Weak(text) } else { Self::Strong(text) })
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Strong(text) | Self::Weak(text) => text,
        }
    }
}

/// The value of a header that stands there once, or always with the same value.
fn single(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|value| value != first) || first.len() > LONGEST {
        return None;
    }
    first.to_str().ok().map(|text| text.trim_matches([' ', '\t']).to_owned())
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// `Retry-After`: seconds, or a date. A date that has passed means now.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    if let Some(seconds) = digits(text) {
        return Some(Duration::from_secs(seconds));
    }
    date(text).map(|then| then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::{HeaderName, HeaderValue};

    fn head(headers: &[(&'static str, &[u8])]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        Head::new(206, &map, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    fn tag(text: &str) -> Option<ETag> {
        head(&[("etag", text.as_bytes())]).version.etag
    }

    #[test]
    fn a_head_of_the_usual_kind() {
        let head = head(&[
            ("content-length", b"5"),
            ("content-range", b"bytes 5-9/10"),
            ("etag", b"\"5f3-a1\""),
            ("last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
            ("content-encoding", b"identity"),
            ("content-type", b"application/octet-stream"),
        ]);
        assert_eq!(head.len, Some(5));
        assert_eq!(head.range, Some(Ok(ContentRange::Part { range: 5..10, total: Some(10) })));
        assert_eq!(head.version.condition(), Some("\"5f3-a1\""));
        assert_eq!((head.encoding, head.multipart, head.retry_after), (None, false, None));
        let changed = head.version.changed_at().unwrap();
        assert_eq!(changed, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    }

    #[test]
    fn tags_have_quotes_and_weak_ones_are_no_condition() {
        assert_eq!(tag("\"a\""), Some(ETag::Strong("\"a\"".to_owned())));
        assert_eq!(tag("\"\""), Some(ETag::Strong("\"\"".to_owned())));
        assert_eq!(tag("W/\"a\""), Some(ETag::Weak("W/\"a\"".to_owned())));
        for text in ["", "a", "\"", "\"a", "w/\"a\"", "\"a\"b\"", "\"a b\"", "'a'", "W/a", "W/"] {
            assert_eq!(tag(text), None, "{text}");
        }
        assert_eq!(tag(&format!("\"{}\"", "x".repeat(LONGEST))), None);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let weak = head(&[("etag", b"W/\"a\""), ("last-modified", date.as_bytes())]).version;
        assert_eq!(weak.condition(), Some(date));
        assert_eq!(head(&[("etag", b"W/\"a\"")]).version.condition(), None);
    }

    #[test]
    fn what_is_said_twice_and_differs_is_not_said() {
        let twice = |name, a: &[u8], b: &[u8]| head(&[(name, a), (name, b)]);
        assert_eq!(twice("etag", b"\"a\"", b"\"b\"").version.etag, None);
        assert!(twice("etag", b"\"a\"", b"\"a\"").version.etag.is_some());
        assert_eq!(twice("content-length", b"5", b"6").len, None);
        let range = twice("content-range", b"bytes 0-4/5", b"bytes 0-3/5").range;
        assert_eq!(range, Some(Err(Malformed)));
    }

    #[test]
    fn what_does_not_parse_says_nothing() {
        for text in ["", "-1", "+5", "5 5", "0x5", "18446744073709551616", "5,5"] {
            assert_eq!(head(&[("content-length", text.as_bytes())]).len, None, "{text}");
        }
        assert_eq!(head(&[("content-length", b"\xff")]).len, None);
        for text in ["", "yesterday", "1994-11-06", "\"a\"", "0"] {
            let head = head(&[("last-modified", text.as_bytes())]);
            assert_eq!(head.version.last_modified, None, "{text}");
        }
        assert_eq!(head(&[("content-range", b"\xff")]).range, Some(Err(Malformed)));
        assert_eq!(head(&[]).range, None);
    }

    #[test]
    fn encodings_and_parts_are_seen() {
        let encoding = |name: &[u8]| head(&[("content-encoding", name)]).encoding;
        assert_eq!(encoding(b"gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"identity, br").as_deref(), Some("identity, br"));
        assert_eq!(encoding(b"\xff").as_deref(), Some("unknown"));
        assert_eq!((encoding(b""), encoding(b"Identity")), (None, None));
        let of_type = |name: &[u8]| head(&[("content-type", name)]).multipart;
        assert!(of_type(b"multipart/byteranges; boundary=x") && of_type(b"Multipart/ByteRanges"));
        assert!(!of_type(b"multipart/mixed") && !of_type(b"text/plain"));
    }

    #[test]
    fn when_to_come_again() {
        let wait = |text: &str| head(&[("retry-after", text.as_bytes())]).retry_after;
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        for text in ["", "-7", "7.5", "soon", "99999999999999999999"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    #[test]
    fn versions_differ_in_what_both_know() {
        let version = |etag: &str, date: &str| {
            head(&[("etag", etag.as_bytes()), ("last-modified", date.as_bytes())]).version
        };
        let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT");
        let name = |a: &Version, b: &Version| a.difference(b).map(|(name, ..)| name);
        let of_old = version("\"a\"", old);
        assert_eq!(name(&of_old, &of_old), None);
        assert_eq!(name(&of_old, &version("\"b\"", old)), Some("etag"));
        assert_eq!(name(&of_old, &version("\"a\"", new)), Some("date"));
        assert_eq!(name(&of_old, &version("", "")), None);
        assert_eq!(name(&of_old, &version("W/\"a\"", "")), None);
        assert_eq!(name(&version("W/\"a\"", ""), &version("W/\"b\"", "")), Some("etag"));
    }
}
