//! Progress on a terminal; elsewhere nothing.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bars of a run. They draw on stderr, and only if that is a terminal.
#[derive(Debug)]
pub(super) struct Live(MultiProgress);

impl Live {
    pub(super) fn new(hidden: bool) -> Self {
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    pub(super) fn bar(&self, store: &str, what: &str, len: u64) -> ProgressBar {
        let bar = self.0.add(ProgressBar::new(len));
        bar.set_style(style(
            "{prefix:20} [{bar:30}] {human_pos:>9}/{human_len} {elapsed:>4} {msg}",
        ));
        bar.set_prefix(format!("{store} {what}"));
        bar
    }

    pub(super) fn spinner(&self, store: &str, what: &str) -> ProgressBar {
        let bar = self.0.add(ProgressBar::new_spinner());
        bar.set_style(style("{prefix:20} {spinner} {elapsed:>4}"));
        bar.set_prefix(format!("{store} {what}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// The table says it all.
    pub(super) fn clear(&self) {
        // A terminal that went away needs no clearing.
        let _cleared = self.0.clear().is_ok();
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that does not parse, which the tests would show, falls back to a plain bar.
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
