//! Anchors that are cited exist.

use super::{Finding, Source};

/// The texts whose headings the sources cite.
const CITED: [&str; 2] = ["FORMAT.md", "DURABILITY.md"];

pub(super) fn anchors(files: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cited in CITED {
        let path = format!("docs/{cited}");
        let text = files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
        let headings: Vec<String> = text.unwrap_or_default().lines().filter_map(heading).collect();
        // Composed, so that the rule does not find itself.
        let start = format!("{cited}{}", '#');
        // The rules' own samples cite what is not there.
        for file in files.iter().filter(|file| !file.path.starts_with("xtask/")) {
            for (at, _) in file.text.match_indices(&start) {
                let rest = file.text.get(at + start.len()..).unwrap_or_default();
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
                let anchor = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                if !headings.iter().any(|heading| heading == anchor) {
                    let message = format!("docs/{cited} has no heading for `{anchor}`");
                    findings.push(file.finding(&file.text, at, message));
                }
            }
        }
    }
    findings
}

/// The anchor that a heading gets: lower case, dashes for blanks, without punctuation.
fn heading(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#');
    if title.len() == line.len() || !title.starts_with(' ') {
        return None;
    }
    let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn headings_become_anchors() {
        assert_eq!(heading("## Segment header").as_deref(), Some("segment-header"));
        assert_eq!(
            heading("# The `META` file, 136 bytes").as_deref(),
            Some("the-meta-file-136-bytes")
        );
        assert_eq!(heading("text"), None);
        assert_eq!(heading("#tag"), None);
    }

    #[test]
    fn anchors_without_heading_are_found() {
        let format = Source::new("docs/FORMAT.md", "# Log\n\n## Segment header\n");
        let text = "// docs/FORMAT.md#segment-header.\n// FORMAT.md#segment-footer\n\
                    // DURABILITY.md#rename\n";
        let files = [format, Source::new("crates/untorn/src/log/mod.rs", text)];
        assert_eq!(lines(&anchors(&files)), [2, 3]);
    }
}
