//! `fold digest` and `diff`.

use std::path::Path;

use serde::Serialize;

use super::args::FoldDiff;
use super::{At, lines, look, many};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, hex};
use untorn::fold::VersionToken;

pub(super) fn digest(dir: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Digest {
        digest: String,
        #[serde(flatten)]
        at: At,
    }
    let snapshot = look(dir)?.snapshot();
    let digest = hex(&snapshot.digest()?);
    let cursor = snapshot.cursor();
    if out.json() {
        out.value(&Digest { digest, at: At::of(&cursor) })?;
    } else {
        out.line(format_args!("{digest}  cursor {cursor}"))?;
    }
    Ok(code::OK)
}

pub(super) fn diff(args: &FoldDiff, out: &mut Out) -> Result<u8> {
    let (a, b) = (look(&args.a)?.snapshot(), look(&args.b)?.snapshot());
    let as_lines = args.ndjson || out.json();
    let mut differ = 0_u64;
    for change in a.diff(&b) {
        let change = change?;
        differ += 1;
        if as_lines {
            lines::change(change, out)?;
            continue;
        }
        let (sign, old, new) = match (&change.old, &change.new) {
            (Some(old), Some(new)) => ("~", Some(old), Some(&new.version)),
            (None, new) => ("+", None, new.as_ref().map(|new| &new.version)),
            (old, None) => ("-", old.as_ref(), None),
        };
        let versions: Vec<String> =
            [old, new].into_iter().flatten().map(VersionToken::to_string).collect();
        out.line(format_args!("{sign} {}  {}", change.key.escape_debug(), versions.join(" -> ")))?;
    }
    let (at, to) = (a.cursor(), b.cursor());
    if as_lines && (differ > 0 || at != to) {
        lines::progress(&to, out)?;
    }
    let cursors =
        if at == to { format!("both at cursor {at}") } else { format!("at cursor {at} and {to}") };
    out.note(format_args!("{} differ, {cursors}", many(differ, "key")));
    if args.exit_code && differ > 0 {
        return Err(Failure::Quiet(code::PRECONDITION));
    }
    Ok(code::OK)
}
