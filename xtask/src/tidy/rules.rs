//! Rules about single files.

use super::code::words;
use super::{Finding, Source};

const LIBRARY: &str = "crates/untorn/src/";

/// Sources and texts are plain ASCII.
pub(super) fn ascii(source: &Source) -> Vec<Finding> {
    let strange = source.text.char_indices().find(|(_, c)| !c.is_ascii());
    let finding = strange.map(|(at, c)| {
        let code = u32::from(c);
        source.finding(&source.text, at, format!("not ASCII: U+{code:04X}"))
    });
    finding.into_iter().collect()
}

/// Only `sys` has `unsafe`.
pub(super) fn no_unsafe(source: &Source) -> Vec<Finding> {
    let exempt = source.path.starts_with("crates/untorn/src/sys/");
    if exempt || !source.path.starts_with("crates/") || !source.path.contains("/src/") {
        return Vec::new();
    }
    let found = words(&source.code, "unsafe");
    found.map(|at| source.finding(&source.code, at, "`unsafe` outside of sys")).collect()
}

/// Only `commit` renames, unlinks and syncs; `fs`, `sys` and `sim` implement it.
pub(super) fn only_commit_commits(source: &Source) -> Vec<Finding> {
    let Some(path) = source.path.strip_prefix(LIBRARY) else { return Vec::new() };
    let layer = path.split(['/', '.']).next().unwrap_or_default();
    if ["commit", "fs", "sys", "sim"].contains(&layer) {
        return Vec::new();
    }
    let code = source.library_code();
    let mut findings = Vec::new();
    for call in [".rename(", ".unlink(", ".sync("] {
        for (at, _) in code.match_indices(call) {
            let argument = code.get(at + call.len()..).unwrap_or_default().trim_start();
            // Other things may be synced, such as a log; with a site it is the seam's.
            let of_seam = ["SyncWhat", "SyncSite", "crate::fs::Sync", "fs::Sync"];
            if call != ".sync(" || of_seam.iter().any(|start| argument.starts_with(start)) {
                findings.push(source.finding(code, at, format!("`{call}..)` is a verb of commit")));
            }
        }
    }
    findings
}

/// No lint is allowed without being expected, nothing is left to be done.
pub(super) fn no_leftovers(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for attribute in ["#[allow(", "#![allow("] {
        let found = source.code.match_indices(attribute);
        let message = "expect the lint, with a reason";
        findings.extend(found.map(|(at, _)| source.finding(&source.code, at, message)));
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        let found = words(&source.text, word);
        findings.extend(
            found.map(|at| source.finding(&source.text, at, format!("{word} in the tree"))),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str, expected: &[usize]) {
        assert_eq!(lines(&rule(&Source::new(path, text))), expected);
    }

    #[test]
    fn other_letters_are_found() {
        check(ascii, "README.md", "a\nb \u{2014} c\n", &[2]);
        check(ascii, "README.md", "plain\n", &[]);
    }

    #[test]
    fn unsafe_is_found_outside_of_sys() {
        let bad = "fn f() {\n    unsafe { g() }\n}\n";
        check(no_unsafe, "crates/untorn/src/log/mod.rs", bad, &[2]);
        check(no_unsafe, "crates/untorn-cli/src/main.rs", bad, &[2]);
        check(no_unsafe, "crates/untorn/src/sys/mapping.rs", bad, &[]);
        let good = "// unsafe\n#![deny(unsafe_code)]\nlet x = \"unsafe\";\n";
        check(no_unsafe, "crates/untorn/src/lib.rs", good, &[]);
    }

    #[test]
    fn commits_are_found_outside_of_commit() {
        let bad = "dir\n    .rename(a, b)?;\ndir.unlink(a)?;\nfile.sync(SyncWhat::Data, site)?;\n\
                   dir.sync(\n    SyncSite::Caller,\n)?;\n";
        check(only_commit_commits, "crates/untorn/src/log/mod.rs", bad, &[2, 3, 4, 5]);
        check(only_commit_commits, "crates/untorn/src/probe.rs", bad, &[2, 3, 4, 5]);
        check(only_commit_commits, "crates/untorn/src/commit/replace.rs", bad, &[]);
        let good = "log.sync()?;\n#[cfg(test)]\nmod tests {\n    dir.unlink(a)?;\n}\n";
        check(only_commit_commits, "crates/untorn/src/log/mod.rs", good, &[]);
    }

    #[test]
    fn leftovers_are_found() {
        let bad = format!("#[allow(dead_code)]\n// {}: later\n#![allow(x)]\n", concat!("TO", "DO"));
        check(no_leftovers, "xtask/src/main.rs", &bad, &[1, 3, 2]);
        check(no_leftovers, "xtask/src/main.rs", "#[expect(dead_code, reason = \"\")]\n", &[]);
    }
}
