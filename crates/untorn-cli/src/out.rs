//! stdout is data, stderr is talk. A closed stdout ends the command without a word.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::exit::{Failure, Result, code, say};

/// Where a command writes.
#[derive(Debug)]
pub(crate) struct Out {
    json: bool,
    color: bool,
    stdout: BufWriter<Stdout>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = !json && !no_color && io::stdout().is_terminal();
        Self { json, color, stdout: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) -> Result<()> {
        writeln!(self.stdout, "{text}").map_err(closed)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(closed)
    }

    /// One line of JSON.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| closed(e.into()))?;
        self.line(format_args!("{text}"))
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(closed)
    }

    /// Talk: never with `--json`, where stderr has at most the one error object.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        if !self.json {
            say(text);
        }
    }

    /// A bar that counts bytes, on a terminal.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.drawn("{bytes}/{total_bytes} [{bar:30}] {elapsed}")
    }

    /// A count of things of which nobody knows how many there are, on a terminal.
    pub(crate) fn counter(&self) -> ProgressBar {
        self.drawn("{pos} objects {elapsed}")
    }

    fn drawn(&self, template: &str) -> ProgressBar {
        let target =
            if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar
    }

    /// Green or red on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn paint(&self, good: bool, text: &str) -> String {
        match (self.color, good) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\x1b[32m{text}\x1b[0m"),
            (true, false) => format!("\x1b[1;31m{text}\x1b[0m"),
        }
    }
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Quiet(code::OK);
    }
    Failure::io("write", Path::new("stdout"), error)
}

/// A count of bytes for a person.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0_usize;
    let mut value = real(bytes);
    while value >= 1024.0 && unit < 4 {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// A count with its thousands apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, in words.
pub(crate) fn many(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number))
}

/// For ratios and rates, where the last bits do not matter.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn real(value: u64) -> f64 {
    value as f64
}

/// A rate as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before, and shown to a person"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value.clamp(0.0, 1e15).round() as u64
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ok = write!(text, "{byte:02x}").is_ok();
        text
    })
}
