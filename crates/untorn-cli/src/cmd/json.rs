//! JSON text made compact, as the library writes it: no blanks, one spelling of each string and number. The order of the keys, keys that
//! occur twice and whole numbers of any length stay.

use serde::de::IgnoredAny;

/// The same value without blanks.
///
/// # Errors
/// Why it is no JSON that could be read again.
pub(super) fn compact(text: &[u8]) -> Result<Vec<u8>, String> {
    // A value, since ignoring one does not heed how deep it goes.
    serde_json::from_slice::<serde_json::Value>(text).map_err(|e| e.to_string())?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let len = match first {
            b' ' | b'\t' | b'\r' | b'\n' => {
                rest = after;
                continue;
            }
            b'"' => string_len(after) + 1,
            b'-' | b'0'..=b'9' => number_len(rest),
            _ => 1,
        };
        let (token, after) = rest.split_at_checked(len).ok_or("it ends within a string")?;
        match first {
            b'"' => string(token, &mut out)?,
            b'-' | b'0'..=b'9' => number(token, &mut out)?,
            _ => out.extend_from_slice(token),
        }
        rest = after;
    }
    Ok(out)
}

pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The length of a string whose opening quote was taken, with the closing one.
fn string_len(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 1)
}

fn number_len(text: &[u8]) -> usize {
    let of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    text.iter().position(|byte| !of_number(byte)).unwrap_or(text.len())
}

fn string(token: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let text: String = serde_json::from_slice(token).map_err(|e| e.to_string())?;
    serde_json::to_writer(out, &text).map_err(|e| e.to_string())
}

fn number(token: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let whole = !token.iter().any(|byte| b".eE".contains(byte)) && token != b"-0";
    if whole {
        out.extend_from_slice(token);
        return Ok(());
    }
    let text = str::from_utf8(token).map_err(|e| e.to_string())?;
    let real: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    serde_json::to_writer(out, &real).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8(compact(text.as_bytes()).unwrap()).unwrap(), expected);
        // What was compact stays as it is.
        assert_eq!(String::from_utf8(compact(expected.as_bytes()).unwrap()).unwrap(), expected);
    }

    #[test]
    fn blanks_and_spellings_go_and_all_else_stays() {
        check(
            " { \"b\" : [ 1 , 2.50 , -3 ] ,\n\t\"a\" : null }\r\n",
            r#"{"b":[1,2.5,-3],"a":null}"#,
        );
        check(r#""a \"quoted\" \\ \u0041\/ b""#, r#""a \"quoted\" \\ A/ b""#);
        check(r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#);
        check("123456789012345678901234567890", "123456789012345678901234567890");
        check("[1e2,1E-7,-0,-0.0,1e9]", "[100.0,1e-7,-0.0,-0.0,1000000000.0]");
        check("true", "true");
        check(r#""\\""#, r#""\\""#);
    }

    /// The shortest spelling of a number is read exactly, so that what the library wrote comes out as it went in.
    #[test]
    fn numbers_that_the_library_wrote_stay() {
        let mut bits = 1_u64;
        for _ in 0..2000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let real = f64::from_bits(bits);
            if real.is_finite() {
                let text = serde_json::to_string(&real).unwrap();
                check(&text, &text);
            }
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\":1} x", "\"\\ud800\"", "01", "nul", "1e999"] {
            assert!(compact(text.as_bytes()).is_err(), "{text}");
        }
        let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(compact(&deep(127)).is_ok());
        assert!(compact(&deep(128)).is_err());
        assert!(compact(b"\"\xff\"").is_err());
    }
}
