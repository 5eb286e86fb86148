//! The source against a server that behaves well, badly, and worse.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use untorn::chunked::RangeSource as _;
use untorn::{Error, ErrorKind, Result};

use super::agent::Patience;
use super::http::{HttpOptions, HttpSource};
use super::range_server::{Behaviour, Fault, RangeServer};
use super::refused::retry_after;

const MANY: u32 = u32::MAX;

fn options() -> HttpOptions {
    HttpOptions {
        headers: Vec::new(),
        connections: 4,
        limit_rate: None,
        patience: Patience::default(),
    }
}

fn source(url: &str) -> HttpSource {
    HttpSource::new(url, &options()).unwrap()
}

/// No two places look the same.
fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A server with `len` bytes, changed a little, and a source that asks it.
fn pair(len: usize, change: impl FnOnce(&mut Behaviour)) -> (RangeServer, HttpSource, Vec<u8>) {
    let content = content(len);
    let mut behaviour = Behaviour::of(content.clone());
    change(&mut behaviour);
    let server = RangeServer::start(behaviour);
    let source = source(&server.url("/file"));
    (server, source, content)
}

fn fetch(source: &HttpSource, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let start = range.start;
    source.fetch(range, &mut |at, piece| {
        assert_eq!(at, start + bytes.len() as u64, "in order");
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// As a filler does: a piece that failed and may be tried again is.
fn fetch_stubbornly(source: &HttpSource, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
    let mut last = None;
    for _ in 0..5 {
        match fetch(source, range.clone()) {
            Ok(bytes) => return Ok(bytes),
            Err(e) if e.kind() == ErrorKind::Io => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap())
}

fn in_order(source: &HttpSource, from: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let end = source.in_order(from, &mut |_, piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    assert_eq!(end, from + bytes.len() as u64);
    Ok(bytes)
}

#[track_caller]
fn kind<T>(result: Result<T>, words: &str) -> ErrorKind {
    let error = result.map(drop).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    error.kind()
}

#[test]
fn the_first_answer_says_what_the_file_is() {
    let (server, source, content) = pair(1000, |_| {});
    let identity = source.identity().unwrap();
    assert_eq!(identity.len, Some(1000));
    assert_eq!(identity.etag.as_deref(), Some("\"v1\""));
    assert_eq!(identity.source, Some(server.url("/file")));
    assert!(!source.is_sequential().unwrap());
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("range"), Some("bytes=0-"));
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].header("if-range"), None);
    // Its body is what the first fetch reads.
    assert_eq!(fetch(&source, 0..400).unwrap(), content[..400]);
    assert_eq!(fetch(&source, 400..1000).unwrap(), content[400..]);
    assert_eq!((server.asked().len(), server.sent()), (1, 1000));
    assert_eq!(source.received(), 1000);
    assert_eq!(source.in_flight(), []);
}

#[test]
fn later_requests_name_the_version_and_use_the_connection_again() {
    let (server, source, content) = pair(100_000, |_| {});
    for start in [90_000, 50_000, 10_000] {
        let range = start..start + 10_000;
        let wanted = &content[usize::try_from(start).unwrap()..][..10_000];
        assert_eq!(fetch(&source, range).unwrap(), wanted);
    }
    let asked = server.asked();
    assert_eq!(asked[1].header("range"), Some("bytes=90000-99999"));
    assert_eq!(asked[1].header("if-range"), Some("\"v1\""));
    assert_eq!(asked.len(), 4);
    assert_eq!(server.connections(), 2, "the first stream, and one for all others");

    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for etag in [None, Some("W/\"v1\"".to_owned())] {
        let (server, source, content) = pair(1000, |it| it.etag = etag);
        assert_eq!(fetch(&source, 500..600).unwrap(), content[500..600]);
        assert_eq!(server.asked()[1].header("if-range"), Some(date));
    }
    let (server, source, content) = pair(1000, |it| (it.etag, it.last_modified) = (None, None));
    assert_eq!(fetch(&source, 500..600).unwrap(), content[500..600]);
    assert_eq!(server.asked()[1].header("if-range"), None);
    assert!(!source.identity().unwrap().is_known_again());
}

#[test]
fn many_threads_fetch_pieces_in_any_order() {
    let (server, source, content) = pair(1 << 20, |_| {});
    let piece = 64 << 10;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (source, content) = (&source, &content);
            scope.spawn(move || {
                for number in (thread..16).step_by(4) {
                    let start = number * piece;
                    let range = start as u64..(start + piece) as u64;
                    assert_eq!(fetch(source, range).unwrap(), content[start..start + piece]);
                }
            });
        }
    });
    assert!(server.connections() <= 5);
    assert_eq!(source.received(), 1 << 20);
}

/// The bytes up to the failure were handed over; the piece as a whole is tried again.
#[test]
fn a_piece_that_broke_off_or_was_another_one_is_tried_again() {
    let faults = [
        Fault::Start(7),
        Fault::End(7),
        Fault::Words("bytes 1-5".to_owned()),
        Fault::Words("rubbish".to_owned()),
        Fault::Words(String::new()),
        Fault::Fewer(1),
        Fault::Fewer(1000),
        Fault::Cut(0),
        Fault::Cut(500),
        Fault::Length("999".to_owned()),
        Fault::Length("1001".to_owned()),
        Fault::Header("Content-Encoding", "gzip".to_owned()),
        Fault::Header("Content-Type", "multipart/byteranges; boundary=x".to_owned()),
        Fault::Header("Content-Range", "bytes 3-4/5000".to_owned()),
        Fault::Status(500, None),
        Fault::Status(502, None),
        Fault::Raw(b"this is no HTTP\r\n\r\n".to_vec()),
        Fault::Raw(b"HTTP/1.1 206 Partial Content\r\n".to_vec()),
        Fault::Raw(Vec::new()),
    ];
    for fault in faults {
        let told = format!("{fault:?}");
        let (server, source, content) = pair(5000, |_| {});
        source.identity().unwrap();
        server.change(|it| it.fault = Some((fault.clone(), MANY)));
        assert_eq!(kind(fetch_stubbornly(&source, 1000..2000), "fetch"), ErrorKind::Io, "{told}");
        server.change(|it| it.fault = Some((fault, 2)));
        let bytes = fetch_stubbornly(&source, 1000..2000).unwrap();
        assert_eq!(bytes, content[1000..2000], "{told}");
    }
}

/// A body in chunks may end well and be too short all the same.
#[test]
fn bytes_too_few_are_noticed_without_a_length() {
    let (server, source, content) = pair(5000, |it| it.chunked = true);
    source.identity().unwrap();
    server.change(|it| it.fault = Some((Fault::Fewer(100), 1)));
    assert_eq!(kind(fetch(&source, 1000..2000), "100 bytes before"), ErrorKind::Io);
    assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
}

/// What a connection has too much must not become the head of the next answer, nor a byte of the file.
#[test]
fn bytes_too_many_do_no_harm() {
    for chunked in [false, true] {
        let (server, source, content) = pair(5000, |it| it.chunked = chunked);
        source.identity().unwrap();
        server.change(|it| it.fault = Some((Fault::More(100), 2)));
        if chunked {
            assert_eq!(kind(fetch(&source, 1000..2000), "more bytes"), ErrorKind::Io);
        }
        for start in [1000, 2000, 3000] {
            let bytes = fetch_stubbornly(&source, start..start + 1000).unwrap();
            let start = usize::try_from(start).unwrap();
            assert_eq!(bytes, content[start..start + 1000]);
        }
    }
}

#[test]
fn another_version_is_not_mixed_in() {
    let other = content(6000).split_off(1000);
    let check = |change: &dyn Fn(&mut Behaviour), words: &str| {
        let (server, source, _) = pair(5000, |_| {});
        source.identity().unwrap();
        server.change(|it| change(it));
        assert_eq!(kind(fetch(&source, 1000..2000), words), ErrorKind::Precondition);
    };
    let new = Some("\"v2\"".to_owned());
    // The condition fails, and all of the new file comes.
    check(&|it| (it.content, it.etag) = (Arc::new(other.clone()), new.clone()), "remote changed");
}

#[test]
fn another_total_tag_or_date_of_a_part_is_another_version() {
    let check = |raw: &str, words: &str| {
        let (server, source, _) = pair(5000, |_| {});
        source.identity().unwrap();
        let raw = format!("HTTP/1.1 {raw}\r\nContent-Length: 0\r\n\r\n");
        server.change(|it| it.fault = Some((Fault::Raw(raw.into_bytes()), MANY)));
        assert_eq!(kind(fetch(&source, 1000..2000), words), ErrorKind::Precondition);
    };
    let part = "206 X\r\nContent-Range: bytes 1000-1999/5000";
    check("206 X\r\nContent-Range: bytes 1000-1999/5001", "5001");
    check(&format!("{part}\r\nETag: \"v2\""), "\"v2\"");
    check(&format!("{part}\r\nLast-Modified: Mon, 07 Nov 1994 08:49:37 GMT"), "07 Nov");
    check("206 X\r\nETag: \"v2\"", "\"v2\"");
    check("416 X\r\nContent-Range: bytes */900", "shorter");
    check("416 X", "shorter");
    check("200 X\r\nETag: \"v2\"", "\"v2\"");
}

#[test]
fn weak_tags_and_no_tags_see_a_change_by_length_and_date() {
    let other = content(6000).split_off(1000);
    let (server, source, _) = pair(5000, |it| (it.etag, it.last_modified) = (None, None));
    source.identity().unwrap();
    server.change(|it| it.content = Arc::new(content(4999)));
    assert_eq!(kind(fetch(&source, 1000..2000), "4999"), ErrorKind::Precondition);

    let (server, source, _) = pair(5000, |it| it.etag = Some("W/\"v1\"".to_owned()));
    source.identity().unwrap();
    server.change(|it| {
        it.content = Arc::new(other);
        it.etag = Some("W/\"v2\"".to_owned());
    });
    assert_eq!(kind(fetch(&source, 1000..2000), "remote changed"), ErrorKind::Precondition);
}

#[test]
fn it_changes_midway() {
    let new = (2, content(5000), Some("\"v2\"".to_owned()));
    let (_server, source, content) = pair(5000, |it| it.change = Some(new));
    assert_eq!(fetch(&source, 3000..4000).unwrap(), content[3000..4000]);
    assert_eq!(kind(fetch(&source, 1000..2000), "remote changed"), ErrorKind::Precondition);
    // The stream of the first answer is of the old version still.
    assert_eq!(fetch(&source, 0..1000).unwrap(), content[..1000]);
}

#[test]
fn a_server_without_ranges_is_one_stream() {
    for chunked in [false, true] {
        let (server, source, content) = pair(300_000, |it| {
            it.ranges = false;
            it.chunked = chunked;
        });
        let identity = source.identity().unwrap();
        assert_eq!(identity.len, (!chunked).then_some(300_000));
        assert!(source.is_sequential().unwrap());
        // Forward it skips, in the same stream.
        assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
        assert_eq!(fetch(&source, 250_000..300_000).unwrap(), content[250_000..]);
        assert_eq!(server.asked().len(), 1);
        assert_eq!(fetch(&source, 500..600).unwrap(), content[500..600]);
        assert_eq!(server.asked().len(), 2);
        assert_eq!(in_order(&source, 0).unwrap(), content);
    }
    let (server, source, _) = pair(5000, |it| it.ranges = false);
    assert_eq!(fetch(&source, 4000..5000).unwrap().len(), 1000);
    server.change(|it| it.etag = Some("\"v2\"".to_owned()));
    assert_eq!(kind(fetch(&source, 0..10), "\"v2\""), ErrorKind::Precondition);
}

#[test]
fn in_order_goes_on_where_it_broke_off() {
    for (ranges, chunked) in [(true, false), (false, false), (false, true), (true, true)] {
        let (server, source, content) = pair(500_000, |it| {
            (it.ranges, it.chunked) = (ranges, chunked);
            it.fault = Some((Fault::Cut(300_000), 1));
        });
        let mut bytes = Vec::new();
        let failed = source.in_order(0, &mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(kind(failed, "fetch"), ErrorKind::Io);
        assert_eq!(bytes, content[..300_000]);
        assert_eq!(in_order(&source, 300_000).unwrap(), content[300_000..]);
        assert_eq!(server.asked().len(), 2);
    }
}

#[test]
fn empty_files() {
    for ranges in [true, false] {
        let (server, source, _) = pair(0, |it| it.ranges = ranges);
        assert_eq!(source.identity().unwrap().len, Some(0));
        assert_eq!(in_order(&source, 0).unwrap(), b"");
        assert_eq!(fetch(&source, 0..0).unwrap(), b"");
        assert_eq!(kind(fetch(&source, 0..1), "0 bytes"), ErrorKind::OutOfRange);
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn odd_first_answers() {
    let check = |raw: &str, expected: ErrorKind, words: &str| {
        let (_server, source, _) = pair(5000, |it| {
            it.fault = Some((Fault::Raw(raw.as_bytes().to_vec()), MANY));
        });
        assert_eq!(kind(source.identity(), words), expected, "{raw}");
    };
    let changed = ErrorKind::Precondition;
    check("HTTP/1.1 416 X\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n", changed, "");
    check("HTTP/1.1 206 X\r\nContent-Range: bytes 1-4/5\r\n\r\nabcd", ErrorKind::Io, "part");
    check("HTTP/1.1 206 X\r\n\r\nabcd", ErrorKind::Io, "part");
    let gzip = "HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd";
    check(gzip, ErrorKind::Io, "gzip");
    check("HTTP/1.1 204 X\r\n\r\n", ErrorKind::Failed, "204");
    check("HTTP/1.1 304 X\r\n\r\n", ErrorKind::Failed, "304");
    check("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n", ErrorKind::Failed, "302");
    let nowhere = "HTTP/1.1 302 X\r\nLocation: ftp://h/\r\nContent-Length: 0\r\n\r\n";
    check(nowhere, ErrorKind::Failed, "no URL");
    check("\0\0\0\0\r\n\r\n", ErrorKind::Io, "");
    let long = format!("HTTP/1.1 200 X\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    check(&long, ErrorKind::Failed, "too long");

    // A length that is not said is found out by a request without a range.
    let (server, source, content) = pair(5000, |it| {
        it.fault = Some((Fault::Total("*".to_owned()), 1));
    });
    assert_eq!(source.identity().unwrap().len, Some(5000));
    assert_eq!(server.asked()[1].header("range"), None);
    assert_eq!(in_order(&source, 0).unwrap(), content);
    let (_server, source, content) =
        pair(5000, |it| it.fault = Some((Fault::Status(416, None), 1)));
    assert_eq!(in_order(&source, 0).unwrap(), content);

    // A server may send less than all of `bytes=0-`, if it says so.
    let (_server, source, content) = pair(5000, |it| it.fault = Some((Fault::End(3000), 1)));
    assert_eq!(fetch(&source, 0..4000).unwrap(), content[..4000]);
}

#[test]
fn who_is_refused_learns_why() {
    let check = |status, expected, words| {
        let (server, source, _) = pair(5000, |it| {
            it.fault = Some((Fault::Status(status, None), 1));
        });
        assert_eq!(kind(source.identity(), words), expected);
        // The next question is a new one.
        assert_eq!(source.identity().unwrap().len, Some(5000));
        server.change(|it| it.fault = Some((Fault::Status(status, None), 1)));
        assert_eq!(kind(fetch(&source, 1000..2000), words), expected);
    };
    check(404, ErrorKind::NotFound, "no such file");
    check(401, ErrorKind::Failed, "--header");
    check(403, ErrorKind::Failed, "forbids");
    check(503, ErrorKind::WouldBlock, "503");
    check(500, ErrorKind::Io, "500");
}

#[test]
fn a_busy_server_says_when_to_come_again() {
    let busy = |seconds: &str| Fault::Status(503, Some(("Retry-After", seconds.to_owned())));
    let (server, source, content) = pair(5000, |it| it.fault = Some((busy("1"), 2)));
    let error = source.identity().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(retry_after(&error), Some(Duration::from_secs(1)));
    // The source waits by itself: who tries again at once does not ask too early.
    let before = std::time::Instant::now();
    assert_eq!(source.identity().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(before.elapsed() > Duration::from_millis(900), "it did not wait");
    assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
    assert_eq!(server.asked().len(), 4);

    // Nobody waits for a day, and nobody for what was cancelled.
    let (_server, source, _) = pair(5000, |it| it.fault = Some((busy("86400"), 1)));
    assert_eq!(kind(source.identity(), "86400"), ErrorKind::Failed);
    let (_server, source, _) = pair(5000, |it| it.fault = Some((busy("500"), 1)));
    assert_eq!(kind(source.identity(), "500"), ErrorKind::WouldBlock);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| source.identity().map(drop).unwrap_err().kind());
        source.cancel();
        assert_eq!(waits.join().unwrap(), ErrorKind::Cancelled);
    });
}

#[test]
fn redirects_are_followed_and_remembered() {
    let (server, _, content) = pair(5000, |it| it.redirect = Some("/new?signed=1".to_owned()));
    let source = source(&server.url("/old"));
    assert_eq!(source.identity().unwrap().source, Some(server.url("/old")));
    assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
    let paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/old", "/new?signed=1", "/new?signed=1"]);

    // What it led to is gone: it is asked again where it leads.
    server.change(|it| {
        it.redirect = Some("/newer".to_owned());
        it.fault = Some((Fault::Status(403, None), 1));
    });
    assert_eq!(fetch(&source, 2000..3000).unwrap(), content[2000..3000]);
    assert_eq!(fetch(&source, 3000..4000).unwrap(), content[3000..4000]);
    let paths: Vec<_> = server.asked().into_iter().skip(3).map(|asked| asked.path).collect();
    assert_eq!(paths, ["/new?signed=1", "/old", "/newer", "/newer"]);

    server.change(|it| it.redirect = Some("/old".to_owned()));
    let round = self::source(&server.url("/old"));
    assert_eq!(kind(round.identity(), "without end"), ErrorKind::Failed);
}

#[test]
fn passwords_are_sent_to_their_host_and_shown_nowhere() {
    let (server, _, content) = pair(5000, |it| {
        it.authorization = Some("Basic YW5uOmdlaGVpbQ==".to_owned());
    });
    let url = format!("http://ann:geheim@{}/file?token=geheim", server.address());
    let source = source(&url);
    assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
    assert_eq!(source.identity().unwrap().source, Some(server.url("/file")));
    let told = format!("{source:?}");
    assert!(!told.contains("geheim") && !told.contains("YW5u"), "{told}");
    server.change(|it| it.authorization = Some("Basic other".to_owned()));
    let error = fetch(&source, 2000..3000).unwrap_err().to_string();
    assert!(error.contains("401") && !error.contains("geheim"), "{error}");

    // Another host is not told, neither by the redirect nor later.
    let (other, _, content) = pair(5000, |_| {});
    server.change(|it| {
        it.authorization = None;
        it.redirect = Some(other.url("/there"));
    });
    let mut options = options();
    let secret = |name: &str| (name.to_owned(), "geheim".to_owned());
    options.headers = vec![secret("Cookie"), secret("X-Plain")];
    let url = format!("http://ann:geheim@{}/old", server.address());
    let source = HttpSource::new(&url, &options).unwrap();
    assert_eq!(fetch(&source, 1000..2000).unwrap(), content[1000..2000]);
    assert!(server.asked().last().unwrap().header("cookie").is_some());
    let asked = other.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!((asked.header("authorization"), asked.header("cookie")), (None, None));
        assert_eq!(asked.header("x-plain"), Some("geheim"));
    }
}

#[test]
fn headers_that_cannot_be_given() {
    let check = |name: &str, value: &str, words: &str| {
        let mut options = options();
        options.headers = vec![(name.to_owned(), value.to_owned())];
        let error = HttpSource::new("http://127.0.0.1:1/", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let told = error.to_string();
        assert!(told.contains(words) && !told.contains("geheim"), "{told}");
    };
    check("Range", "bytes=0-1", "Range");
    check("Accept-Encoding", "gzip", "cannot be given");
    check("X\r\nY", "1", "name");
    check("X", "geheim\r\nY: 1", "value");
    assert_eq!(
        HttpSource::new("ftp://h/", &options()).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn a_silent_or_absent_server_is_not_waited_for() {
    let mut options = options();
    options.patience.answer = Duration::from_millis(200);
    options.patience.silence = Duration::from_millis(200);
    let (server, _, content) = pair(500_000, |it| it.fault = Some((Fault::Silent, 1)));
    let source = HttpSource::new(&server.url("/file"), &options).unwrap();
    assert_eq!(kind(source.identity(), ""), ErrorKind::TimedOut);
    // A slow one is: what counts is the silence, not the whole.
    server.change(|it| it.slow = Some((50_000, Duration::from_millis(50))));
    assert_eq!(fetch(&source, 0..500_000).unwrap(), content);
    // It stops in the middle.
    server.change(|it| it.slow = Some((50_000, Duration::from_secs(2))));
    assert_eq!(kind(fetch(&source, 0..500_000), "nothing more"), ErrorKind::TimedOut);

    let address = server.address();
    drop(server);
    let gone = HttpSource::new(&format!("http://{address}/"), &options).unwrap();
    assert_eq!(kind(gone.identity(), ""), ErrorKind::Io);
}

#[test]
fn cancel_ends_a_fetch_that_waits() {
    let (server, source, _) = pair(5000, |_| {});
    source.identity().unwrap();
    server.change(|it| it.fault = Some((Fault::Silent, MANY)));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| fetch(&source, 1000..2000).unwrap_err().kind());
        while server.asked().len() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(source.in_flight(), vec![1000..2000; 1]);
        source.cancel();
        assert_eq!(waits.join().unwrap(), ErrorKind::Cancelled);
    });
    assert_eq!(fetch(&source, 0..10).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn an_error_of_the_sink_ends_the_fetch() {
    let (server, source, content) = pair(500_000, |_| {});
    let full = || Error::of_caller(ErrorKind::NoSpace, "write", "full");
    let result = source.fetch(0..500_000, &mut |_, _| Err(full()));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(fetch(&source, 0..500_000).unwrap(), content);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn the_rate_is_shared() {
    let (_server, _, content) = pair(0, |_| {});
    assert!(content.is_empty());
    let (server, _, content) = pair(30_000, |_| {});
    let mut options = options();
    options.limit_rate = Some(50_000);
    let source = HttpSource::new(&server.url("/file"), &options).unwrap();
    let before = std::time::Instant::now();
    std::thread::scope(|scope| {
        for start in [0, 10_000, 20_000] {
            let (source, content) = (&source, &content);
            scope.spawn(move || {
                let bytes = fetch(source, start..start + 10_000).unwrap();
                let start = usize::try_from(start).unwrap();
                assert_eq!(bytes, content[start..start + 10_000]);
            });
        }
    });
    // A lower bound only: a slow machine is not a failure.
    assert!(before.elapsed() > Duration::from_millis(350), "{:?}", before.elapsed());
}

/// A server that we did not write.
struct Python(Child);

impl Python {
    /// Serves `dir`; `None`, said aloud, where there is no python3.
    fn start(dir: &std::path::Path) -> Option<(Self, String)> {
        let script = "import http.server, functools, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()";
        let child = Command::new("python3")
            .args(["-c", script])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("SKIPPED: no python3, so no second server");
            return None;
        };
        let mut port = String::new();
        let mut stdout = child.stdout.take().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            port.push(char::from(byte[0]));
        }
        let python = Self(child);
        assert!(!port.is_empty(), "python3 has no http.server");
        Some((python, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// It ignores ranges, sends a date and no tag.
#[test]
fn a_server_that_we_did_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let content = content(700_000);
    std::fs::write(dir.path().join("file"), &content).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let Some((_python, url)) = Python::start(dir.path()) else { return };
    let source = source(&format!("{url}/file"));
    let identity = source.identity().unwrap();
    assert_eq!((identity.len, identity.etag.as_deref()), (Some(700_000), None));
    assert!(identity.is_known_again() && source.is_sequential().unwrap());
    assert!(source.changed_at().unwrap().is_some());
    assert_eq!(fetch(&source, 300_000..700_000).unwrap(), content[300_000..]);
    assert_eq!(fetch(&source, 0..300_000).unwrap(), content[..300_000]);
    assert_eq!(in_order(&self::source(&format!("{url}/empty")), 0).unwrap(), b"");
    let missing = self::source(&format!("{url}/missing"));
    assert_eq!(missing.identity().unwrap_err().kind(), ErrorKind::NotFound);
}

/// The server of these tests does what it says: what it answers is looked at without the source.
#[test]
fn the_test_server_itself() {
    let server = RangeServer::start(Behaviour::of(b"0123456789".to_vec()));
    let ask = |headers: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET /file HTTP/1.1\r\n{headers}\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let part = ask("Range: bytes=2-4\r\nIf-Range: \"v1\"\r\n");
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n234"), "{part}");
    assert!(part.contains("Content-Range: bytes 2-4/10\r\n"), "{part}");
    let all = ask("Range: bytes=2-4\r\nIf-Range: \"v0\"\r\n");
    assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with("\r\n\r\n0123456789"), "{all}");
    let beyond = ask("Range: bytes=10-\r\n");
    assert!(beyond.starts_with("HTTP/1.1 416 ") && beyond.contains("bytes */10"), "{beyond}");
    assert_eq!((server.asked().len(), server.sent()), (3, 13));
}
