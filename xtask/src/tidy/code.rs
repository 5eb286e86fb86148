//! Rust without its comments and literals, so that the rules look at code only.

/// The text with every comment, string and character replaced by blanks; lines and offsets stay.
pub(super) fn of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = at + literal(rest, at.checked_sub(1).map(|before| bytes[before])).unwrap_or(0);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Whole characters were blanked, or the bytes outside of literals would not be text.
    String::from_utf8_lossy(&code).into_owned()
}

/// How long the comment or literal is that starts here, if one does.
fn literal(rest: &[u8], before: Option<u8>) -> Option<usize> {
    match rest {
        [b'/', b'/', ..] => Some(rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(block_comment(rest)),
        [b'"', ..] => Some(quoted(rest)),
        [b'r', b'"' | b'#', ..] if !before.is_some_and(is_word) || before == Some(b'b') => {
            raw_string(rest)
        }
        // A lifetime has no second quote.
        [b'\'', b'\\', ..] => {
            let end = rest.iter().skip(3).position(|&b| b == b'\'')?;
            Some(end + 4)
        }
        [b'\'', first, ..] => {
            let len = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(len + 1) == Some(&b'\'')).then_some(len + 2)
        }
        _ => None,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth == 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().skip(1).take_while(|&&b| b == b'#').count();
    if rest.get(hashes + 1) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let start = hashes + 2;
    let end = rest.get(start..)?.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| start + end + close.len()))
}

/// Where the word stands in the code, as a word of its own.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let (before, after) = (at.checked_sub(1), at + word.len());
        let touches = |at: usize| code.as_bytes().get(at).is_some_and(|&byte| is_word(byte));
        !before.is_some_and(touches) && !touches(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        let found = of(text);
        assert_eq!(found.len(), text.len());
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), code);
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check("f(\"a // b\") + g", "f( ) + g");
        check(r#"f("\"a") + g"#, "f( ) + g");
        check(r##"f(r#"a " b"#, br"c") + g"##, "f( , b ) + g");
        check(r"f('a', '\'', '\u{e4}', b'x') + g", "f( , , , b ) + g");
        check("f('\u{e4}', '\u{1f980}') + g", "f( , ) + g");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("r#type + for_r\"x\"", "r#type + for_r");
        check("\"never closed", "");
        check("/* never closed", "");
    }

    #[test]
    fn words_stand_alone() {
        let code = "unsafe fn; unsafe_code; not_unsafe; (unsafe)";
        assert_eq!(words(code, "unsafe").count(), 2);
    }
}
