//! The conventions that no compiler checks.
//!
//! A rule is a function from a file to findings. Each has a test in which it finds something: a rule that cannot fail
//! checks nothing.

mod code;
mod docs;
mod layers;
mod rules;

use std::fmt;
use std::io;
use std::path::Path;

/// A file of the project.
pub(crate) struct Source {
    /// From the root of the workspace on, with slashes.
    path: String,
    text: String,
    /// Rust only: the text with comments and literals blanked out.
    code: String,
}

impl Source {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if has_ending(&path, "rs") { code::of(&text) } else { String::new() };
        Self { path, text, code }
    }

    fn is_rust(&self) -> bool {
        has_ending(&self.path, "rs")
    }

    /// The code up to the tests at the end of the file; nothing in a file of tests.
    fn library_code(&self) -> &str {
        if self.path.ends_with("tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        let tests = self.code.find("#[cfg(test)]\nmod tests {");
        self.code.get(..tests.unwrap_or(self.code.len())).unwrap_or_default()
    }

    fn finding(&self, text: &str, at: usize, message: impl Into<String>) -> Finding {
        let before = text.get(..at).unwrap_or_default();
        Finding {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            message: message.into(),
        }
    }
}

pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

type Rule = fn(&Source) -> Vec<Finding>;

const RULES: [Rule; 5] = [
    rules::ascii,
    rules::no_unsafe,
    rules::only_commit_commits,
    rules::no_leftovers,
    layers::check,
];

/// Applies every rule to every file below `root`.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    findings.extend(docs::anchors(&files));
    Ok(findings)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<Source>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            // Not ours: what is built, and what version control keeps.
            if name != "target" && name != ".git" {
                collect(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if ["rs", "md", "toml"].iter().any(|ending| has_ending(&path, ending)) {
            let bytes = std::fs::read(entry.path())?;
            files.push(Source::new(path, String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(())
}

fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

#[cfg(test)]
fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applied to a tree with one fault of each kind, every one is found; to a clean tree, none.
    #[test]
    fn all_rules_are_applied() {
        let root = std::env::temp_dir().join(format!("untorn-tidy-{}", std::process::id()));
        let source = root.join("crates/untorn/src");
        std::fs::create_dir_all(source.join("codec")).unwrap();
        std::fs::create_dir_all(root.join("target")).unwrap();
        std::fs::write(root.join("target/x.rs"), "unsafe").unwrap();
        std::fs::write(root.join("README.md"), "# Plain\n").unwrap();
        std::fs::write(source.join("codec/mod.rs"), "fn f() {}\n").unwrap();
        assert!(check(&root).unwrap().is_empty());
        let faults = [
            "use crate::log::Log;",
            "unsafe { f() }",
            "dir.unlink(name)?;",
            "#[allow(dead_code)]",
            "// \u{e4}",
            "// docs/FORMAT.md#nowhere",
        ];
        std::fs::write(source.join("codec/mod.rs"), faults.join("\n")).unwrap();
        let mut found = lines(&check(&root).unwrap());
        std::fs::remove_dir_all(&root).unwrap();
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn tests_are_not_library_code() {
        let source = Source::new("crates/x/src/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.library_code(), "fn f() {}\n");
        assert_eq!(Source::new("crates/x/src/a/tests.rs", "fn f() {}").library_code(), "");
        assert_eq!(Source::new("crates/x/tests/it/a.rs", "fn f() {}").library_code(), "");
    }
}
