use super::Run;
pub(super) fn page(_run: &Run) -> String { String::new() }
