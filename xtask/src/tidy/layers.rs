//! Which folder of the library may name which.

use super::{Finding, Source};

/// A folder (or file) of `crates/untorn/src`, and the ones that it may use. Lower knows nothing of higher; no store
/// knows another, but that the journal takes snapshots.
const LAYERS: [(&str, &[&str]); 15] = [
    ("error", &[]),
    ("sync", &[]),
    ("sys", &[]),
    ("fs", &["sys"]),
    ("codec", &[]),
    ("sim", &["fs", "codec"]),
    ("commit", &["sys", "fs", "codec"]),
    ("log", &["fs", "codec", "commit"]),
    ("artifact", &["fs", "codec", "commit", "log"]),
    ("chunked", STORE),
    ("snapshot", STORE),
    ("journal", &["fs", "codec", "commit", "log", "artifact", "snapshot"]),
    ("pool", STORE),
    ("fold", STORE),
    ("append", STORE),
];

const STORE: &[&str] = &["fs", "codec", "commit", "log", "artifact"];

/// What the root of the crate defines for all.
const ROOT: [&str; 8] =
    ["error", "Error", "ErrorKind", "Outcome", "Result", "Durability", "OnDamage", "sync"];

/// Above all the others.
const TOP: [&str; 3] = ["lib", "aio", "proof"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(path) = source.path.strip_prefix("crates/untorn/src/") else { return Vec::new() };
    let layer = path.split(['/', '.']).next().unwrap_or_default();
    if TOP.contains(&layer) {
        return Vec::new();
    }
    let Some((_, may_use)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        let message = format!("`{layer}` has no place in the layers of xtask/src/tidy/layers.rs");
        return vec![source.finding("", 0, message)];
    };
    let code = source.library_code();
    let mut findings = Vec::new();
    for (at, name) in crate_paths(code) {
        if name != layer && !may_use.contains(&name) && !ROOT.contains(&name) {
            findings.push(source.finding(
                code,
                at,
                format!("`{layer}` may not use `crate::{name}`"),
            ));
        }
    }
    let up = "super::".repeat(depth(path));
    for (at, _) in code.match_indices(&up) {
        findings.push(source.finding(code, at, format!("`{up}` leaves `{layer}`: say `crate::`")));
    }
    findings
}

/// How many modules deep a file is: as many `super::` lead to the root of the crate.
fn depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").split('/').count()
}

/// What stands behind each `crate::`, also in braces.
fn crate_paths(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = code.get(at + start.len()..).unwrap_or_default();
        // `$crate::` in a macro, or a crate whose name ends so, is something else.
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        match rest.strip_prefix('{') {
            None => found.push((at, first_word(rest))),
            Some(group) => found.extend(group_members(group).into_iter().map(|name| (at, name))),
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The first word of each member of the group that was opened before.
fn group_members(group: &str) -> Vec<&str> {
    let (mut members, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(first_word(group.get(start..at).unwrap_or_default()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[track_caller]
    fn found(path: &str, text: &str, expected: &[usize]) {
        assert_eq!(
            lines(&check(&Source::new(format!("crates/untorn/src/{path}"), text))),
            expected
        );
    }

    #[test]
    fn lower_may_not_use_higher() {
        found("fs/os.rs", "use crate::sys::Kernel;\nuse crate::commit::replace;\n", &[2]);
        found("codec/raw.rs", "use crate::{Error, Result};\nuse crate::fs::Fs;\n", &[2]);
        found("log/mod.rs", "use crate::sys::Kernel;\n", &[1]);
        found("log/mod.rs", "fn f() -> crate::journal::Journal {}\n", &[1]);
        found("journal/mod.rs", "use crate::snapshot::S;\nuse crate::pool::P;\n", &[2]);
        found("pool/mod.rs", "use crate::log::Log;\nuse crate::fold::Fold;\n", &[2]);
        found("sim/disk.rs", "use crate::fs::Fs;\nuse crate::commit::replace;\n", &[2]);
        found("fs/mod.rs", "use crate::sim::SimFs;\n", &[1]);
        found("lib.rs", "pub use crate::log::Log;\n", &[]);
    }

    #[test]
    fn groups_are_looked_into() {
        found("fs/mod.rs", "use crate::{\n    Error,\n    log::{Log, Scan},\n    sys,\n};\n", &[1]);
        assert_eq!(group_members("a::{b, c}, d::e, f}; g"), ["a", "d", "f"]);
        found("fs/mod.rs", "use crate::{Error, sys::{Kernel, Mapping}};\n", &[]);
    }

    #[test]
    fn the_way_up_is_closed_too() {
        found("fs/os.rs", "use super::super::log::Log;\n", &[1]);
        found("fs/mod.rs", "use super::log::Log;\n", &[1]);
        found("fs/os.rs", "use super::name::check_name;\n", &[]);
        found("sim/a/b.rs", "use super::super::disk;\n", &[]);
    }

    #[test]
    fn a_new_folder_must_take_its_place() {
        found("novel/mod.rs", "fn f() {}\n", &[1]);
        found("novel.rs", "fn f() {}\n", &[1]);
    }

    #[test]
    fn comments_and_tests_may_name_anything() {
        let text = "//! [`crate::log`]\n#[cfg(test)]\nmod tests {\n    use crate::log::Log;\n}\n";
        found("fs/os.rs", text, &[]);
    }
}
