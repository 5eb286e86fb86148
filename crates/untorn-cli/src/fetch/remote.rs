//! A URL, taken apart: what is asked for, what proves who asks, and what may be shown and stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

/// Where a file is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Without a user and a password.
    pub(crate) url: Uri,
    /// The value of `Authorization` that the user and the password in the URL make. Never shown.
    pub(crate) authorization: Option<String>,
}

impl Remote {
    /// Takes `http://` and `https://`.
    ///
    /// # Errors
    /// Why it is no such URL. The text does not repeat it: there may be a password in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url: Uri = text.parse().map_err(|_| {
            "not a URL such as https://host/file; blanks and letters beyond ASCII are written %20, %C3%A9"
        })?;
        if url.scheme() != Some(&Scheme::HTTP) && url.scheme() != Some(&Scheme::HTTPS) {
            return Err("not a URL that begins with https:// or http://");
        }
        let authority = url.authority().map_or("", Authority::as_str);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let host: Authority = host.parse().map_err(|_| "a URL whose host is none")?;
        if host.host().is_empty() {
            return Err("a URL without a host");
        }
        let port = host.as_str().get(host.host().len()..).unwrap_or_default();
        if !matches!(port, "" | ":") && host.port_u16().is_none() {
            return Err("a URL whose port is none");
        }
        let authorization = user.map(|user| {
            // A user without a password has an empty one.
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [decoded(user), b":".to_vec(), decoded(password)].concat();
            format!("Basic {}", STANDARD.encode(pair))
        });
        let mut parts = url.into_parts();
        parts.authority = Some(host);
        let url = Uri::from_parts(parts).map_err(|_| "not a URL")?;
        Ok(Self { url, authorization })
    }

    /// What people are shown and the store keeps: without user, password and query string.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Whether `other` may see what this host was to see: the same host and port, and not less secret.
    pub(crate) fn trusts(&self, other: &Uri) -> bool {
        let https = |url: &Uri| url.scheme() == Some(&Scheme::HTTPS);
        let host = |url: &Uri| url.host().map(str::to_ascii_lowercase);
        let same_port = match (https(&self.url), https(other)) {
            (true, false) => return false,
            // The usual step from http to https, with the ports that go with them.
            (false, true) => port(&self.url) == 80 && port(other) == 443,
            _ => port(&self.url) == port(other),
        };
        same_port && host(&self.url) == host(other)
    }

    /// Whether this machine itself is asked: no proxy stands in between then.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<std::net::IpAddr> = bare.parse().ok();
        host.eq_ignore_ascii_case("localhost") || address.is_some_and(|it| it.is_loopback())
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.shown()).finish()
    }
}

/// Where a redirect from `base` leads: all forms that a `Location` may have.
pub(super) fn join(base: &Uri, location: &[u8]) -> Option<Uri> {
    // Blanks and letters beyond ASCII ought to be written so; many servers send them as they are.
    let written = location.iter().map(|&byte| match byte {
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    let location: String = written.collect();
    let (location, _fragment) = location.split_once('#').unwrap_or((&location, ""));
    let root = format!("{}://{}", base.scheme_str()?, base.authority()?);
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = location.split(['/', '?']).next().unwrap_or_default();
    let text = if name.contains(':') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}:{location}", base.scheme_str()?)
    } else if location.starts_with('/') {
        format!("{root}{location}")
    } else if location.is_empty() || location.starts_with('?') {
        format!("{root}{}{location}", base.path())
    } else {
        format!("{root}{folder}/{location}")
    };
    Remote::parse(&text).ok().map(|remote| remote.url)
}

fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{}", url.path())
}

fn port(url: &Uri) -> u16 {
    let usual = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    url.port_u16().unwrap_or(usual)
}

/// `%41` becomes `A`; what is not of that form stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let byte = match after {
            [high, low, ..] if first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = byte {
            out.push(high << 4 | low);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_password_and_query_are_kept_apart() {
        let remote =
            Remote::parse("https://ann:p%40ss%3A@h.org:8443/a/b.gguf?token=geheim#x").unwrap();
        assert_eq!(remote.url.to_string(), "https://h.org:8443/a/b.gguf?token=geheim");
        assert_eq!(remote.shown(), "https://h.org:8443/a/b.gguf");
        let pair = STANDARD.encode("ann:p@ss:");
        assert_eq!(remote.authorization, Some(format!("Basic {pair}")));
        let told = format!("{remote:?}");
        assert!(
            !told.contains("ann") && !told.contains("geheim") && !told.contains(&pair),
            "{told}"
        );

        let pair = |text| Remote::parse(text).unwrap().authorization;
        assert_eq!(pair("http://h/"), None);
        assert_eq!(pair("http://ann@h/"), Some(format!("Basic {}", STANDARD.encode("ann:"))));
        let odd = Some(format!("Basic {}", STANDARD.encode("a%4:%zz")));
        assert_eq!(pair("http://a%4:%zz@h/"), odd);
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in [
            "",
            "h.org/file",
            "/file",
            "ftp://ann:geheim@h.org/file",
            "file:///etc/passwd",
            "https://",
            "https:///file",
            "https://ann:geheim@/file",
            "https://h.org/a b",
            "https://h.org:99999999/file",
            "https://[::1/file",
        ] {
            let why = Remote::parse(text).unwrap_err();
            assert!(!why.contains("geheim"), "{text}");
        }
    }

    #[test]
    fn who_may_see_a_password() {
        let trusts =
            |from: &str, to: &str| Remote::parse(from).unwrap().trusts(&to.parse().unwrap());
        assert!(trusts("https://h.org/a", "https://H.org:443/b"));
        assert!(trusts("http://h.org/a", "https://h.org/a"));
        assert!(trusts("http://h.org:8080/a", "http://h.org:8080/b"));
        assert!(!trusts("https://h.org/a", "http://h.org/a"));
        assert!(!trusts("https://h.org/a", "https://cdn.h.org/a"));
        assert!(!trusts("http://h.org/a", "http://h.org:8080/a"));
        assert!(!trusts("http://h.org/a", "https://h.org:8443/a"));
    }

    #[test]
    fn redirects_in_all_forms() {
        let base = "https://h.org:8443/a/b/c?q=1".parse().unwrap();
        for (location, joined) in [
            ("http://x.org/d", Some("http://x.org/d")),
            ("HTTPS://ann:geheim@x.org/d?e#f", Some("https://x.org/d?e")),
            ("//x.org/d", Some("https://x.org/d")),
            ("/d/e", Some("https://h.org:8443/d/e")),
            ("d", Some("https://h.org:8443/a/b/d")),
            ("?r=2", Some("https://h.org:8443/a/b/c?r=2")),
            ("#f", Some("https://h.org:8443/a/b/c")),
            ("/d e/\u{e9}", Some("https://h.org:8443/d%20e/%C3%A9")),
            ("/d?to=http://x/", Some("https://h.org:8443/d?to=http://x/")),
            ("ftp://x.org/d", None),
            ("javascript:1", None),
            ("https://", None),
            ("//", None),
        ] {
            let found = join(&base, location.as_bytes()).map(|url| url.to_string());
            assert_eq!(found.as_deref(), joined, "{location}");
        }
        assert_eq!(join(&base, &[b'/', 0xff]).unwrap().path(), "/%FF");
    }

    #[test]
    fn this_machine() {
        for (url, here) in [
            ("http://127.0.0.1:80/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:80/", true),
            ("http://LOCALHOST/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("http://h.org/", false),
        ] {
            assert_eq!(Remote::parse(url).unwrap().is_loopback(), here, "{url}");
        }
    }
}
