use std::io::Cursor;

use super::super::for_tests::MemFold;
use super::*;

const FEED: &str = concat!(
    r#"{"op":"put","key":"a","value":"1","rev":7}"#,
    "\n\r\n",
    r#"{"op":"put","key":"b","value_b64":"/wA=","rev":8}"#,
    "\r\n",
    r#"{"op":"put","key":"c","value":"","rev":9,"more":{"x":1}}"#,
    "\n",
    r#"{"op":"delete","key":"a","rev":10}"#,
    "\n",
    r#"{"op":"progress","rev":12}"#,
    "\n",
);

#[test]
fn a_feed_is_applied_and_may_be_applied_again() {
    for piece in [1, 2, 3, 7, 1000] {
        for max_ops in [0, 1, 2, 1000] {
            let mut fold = MemFold::new();
            let options = NdjsonOptions::new().batch(max_ops, 1 << 20);
            for _ in 0..2 {
                let reader = std::io::BufReader::with_capacity(piece, Cursor::new(FEED));
                let report = apply_reader(&mut fold, reader, &options).unwrap();
                assert_eq!((report.lines, report.puts, report.deletes), (5, 3, 1));
                assert_eq!((report.cursor.as_u64(), report.torn), (Some(12), None));
                assert_eq!(fold.range("").unwrap().len(), 2);
                assert_eq!(fold.get("b").unwrap().unwrap().value, [255, 0]);
                // An empty value is a value.
                assert_eq!(fold.get("c").unwrap().unwrap().value, b"");
                assert_eq!(fold.cursor().as_u64(), Some(12));
            }
        }
    }
}

#[test]
fn a_bad_line_is_named_and_nothing_before_it_is_lost() {
    let good = "{\"op\":\"put\",\"key\":\"a\",\"value\":\"1\",\"rev\":7}\n";
    let bad = [
        "{",
        "[]",
        "{}",
        r#"{"op":"put","key":"a","rev":7}"#,
        r#"{"op":"pat","key":"a","value":"","rev":7}"#,
        r#"{"op":"put","value":"","rev":7}"#,
        r#"{"op":"put","key":"a","value":1}"#,
        r#"{"op":"put","key":"a","value":"","value_b64":""}"#,
        r#"{"op":"put","key":"a","value_b64":"a"}"#,
        r#"{"op":"put","key":"a","value":"","rev":-1}"#,
        r#"{"op":"put","key":"a","value":"","rev":1,"rev_hex":"01"}"#,
        r#"{"op":"put","key":"a","value":"","rev_hex":"0"}"#,
        r#"{"op":"put","key":"a","value":"","rev_hex":""}"#,
        r#"{"op":"delete","key":"a","value":""}"#,
        r#"{"op":"progress"}"#,
    ];
    for bad in bad {
        let mut fold = MemFold::new();
        let feed = format!("{good}{bad}\n{good}");
        let error = apply_reader(&mut fold, Cursor::new(feed), &NdjsonOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "{bad}");
        assert_eq!(error.offset(), Some(good.len() as u64));
        assert!(error.to_string().contains("line 2 at byte 43"), "{error}");
        assert_eq!((fold.text().as_str(), fold.cursor().as_u64()), ("a=1", Some(7)));
    }
}

#[test]
fn a_line_is_bounded() {
    let line = br#"{"op":"put","key":"a","value":"1"}"#;
    for (max, fits) in [(line.len(), true), (line.len() - 1, false)] {
        for end in ["\n", ""] {
            let options = NdjsonOptions::new().max_line(max);
            let feed = [&line[..], end.as_bytes()].concat();
            let done = apply_reader(&mut MemFold::new(), Cursor::new(feed), &options);
            assert_eq!(done.map_err(|e| e.kind()).err(), (!fits).then_some(ErrorKind::TooLarge));
        }
    }
    // What never ends is not kept beyond the bound.
    let mut lines = Lines::new(100);
    lines.push(&[b' '; 101]);
    assert_eq!(lines.next().unwrap_err().kind(), ErrorKind::TooLarge);
    let long = format!(r#"{{"op":"delete","key":"{}"}}"#, "k".repeat(KEY_MAX + 1));
    assert_eq!(Line::parse(long.as_bytes()).unwrap_err().kind(), ErrorKind::TooLarge);
    let long = format!(r#"{{"op":"progress","rev_hex":"{}"}}"#, "00".repeat(256));
    assert_eq!(Line::parse(long.as_bytes()).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_torn_last_line_is_reported_and_a_whole_one_counts() {
    let line = r#"{"op":"put","key":"a","value":"1","rev":7}"#;
    for cut in 0..=line.len() {
        let mut fold = MemFold::new();
        let feed = format!("\n{}", &line[..cut]);
        let report = apply_reader(&mut fold, Cursor::new(feed), &NdjsonOptions::new()).unwrap();
        let bytes = cut as u64;
        let torn = (cut > 0 && cut < line.len()).then_some(TornLine { line: 2, offset: 1, bytes });
        assert_eq!(report.torn, torn);
        assert_eq!(fold.text(), if cut == line.len() { "a=1" } else { "" });
    }
}

#[test]
fn every_line_comes_back() {
    let versions = [
        VersionToken::unknown(),
        VersionToken::from_u64(0),
        VersionToken::from_u64(u64::MAX),
        VersionToken::from_raw(&[0, 255, 7, 0, 0, 0, 0, 0, 0, 1]).unwrap(),
    ];
    for version in versions {
        let mut lines = vec![
            Line::Update(KvUpdate::delete("k\n\"", version.clone())),
            Line::Update(KvUpdate::Purge { key: "k".into(), version: version.clone() }),
        ];
        for value in [&b""[..], b"text\n", b"\xff", b"\xff\xfe", b"\xff\xfe\xfd", b"\xff\0\0\0"] {
            lines.push(Line::Update(KvUpdate::put("k", value, version.clone())));
        }
        if !version.is_unknown() {
            lines.push(Line::Progress(WatchCursor::from_version(version)));
        }
        for line in lines {
            let mut bytes = Vec::new();
            line.format(&mut bytes);
            let (end, text) = bytes.split_last().unwrap();
            assert_eq!((*end, text.contains(&b'\n')), (b'\n', false));
            assert_eq!(Line::parse(text).unwrap(), line);
        }
    }
}

#[test]
fn base64_is_that_of_the_standard_and_no_other() {
    let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
    for (bytes, text) in pairs {
        assert_eq!(to_base64(bytes.as_bytes()), text);
        assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
    }
    for bad in ["Z", "Zg=", "Zh==", "Zm9=", "====", "Zg==Zg==", "Z===", "Zm8\n", "Zm-v", "=Zg="] {
        assert_eq!(from_base64(bad), None, "{bad}");
    }
}

#[test]
fn any_bytes_are_lines_or_an_error() {
    for at in 0..FEED.len() {
        for byte in [0, b'\n', b'"', b'\\', b'{', b'}', b'9', 0x80, 0xff] {
            let mut feed = FEED.as_bytes().to_vec();
            feed[at] = byte;
            let done = apply_reader(&mut MemFold::new(), Cursor::new(feed), &NdjsonOptions::new());
            let kind = done.map_err(|error| error.kind()).err();
            assert!(matches!(kind, None | Some(ErrorKind::Codec)), "{at} {byte}: {kind:?}");
        }
    }
}
