//! Draws a line that changes, while something runs: on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use super::stop::Stop;
use crate::out::real;

const OFTEN: Duration = Duration::from_millis(200);
/// The rate is that of the last so many lines: three seconds.
const LOOKS: usize = 15;
/// A line is drawn for the first time after this: what takes less needs none.
const FIRST: Duration = Duration::from_millis(400);

/// Runs `work`, and meanwhile shows what `line` makes of the width and the bytes per second. `received` counts bytes.
pub(super) fn during<T>(
    shown: bool,
    received: impl Fn() -> u64 + Sync,
    line: impl Fn(usize, f64) -> String + Sync,
    work: impl FnOnce() -> T,
) -> T {
    if !shown || !io::stderr().is_terminal() {
        return work();
    }
    let over = Stop::default();
    thread::scope(|scope| {
        scope.spawn(|| draw(&over, &received, &line));
        // Also if it panics, for the scope waits for the other thread.
        let _ring = Ring(&over);
        work()
    })
}

struct Ring<'a>(&'a Stop);

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

fn draw(over: &Stop, received: &impl Fn() -> u64, line: &impl Fn(usize, f64) -> String) {
    let mut seen = vec![(Instant::now(), received())];
    let mut drawn = false;
    let mut wait = FIRST;
    while !over.wait(wait) {
        wait = OFTEN;
        let (now, bytes) = (Instant::now(), received());
        seen.push((now, bytes));
        if seen.len() > LOOKS {
            seen.remove(0);
        }
        let rate = seen.first().map_or(0.0, |(then, before)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            if seconds > 0.0 { real(bytes.saturating_sub(*before)) / seconds } else { 0.0 }
        });
        put(&format!("\r{}\x1b[K", line(width(), rate)));
        drawn = true;
    }
    if drawn {
        put("\r\x1b[K");
    }
}

/// A terminal that went away needs no line.
fn put(text: &str) {
    let mut stderr = io::stderr().lock();
    let _drawn = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_ok();
}

/// The last column stays free: some terminals go to the next line when it is written.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { 79 } else { usize::from(columns) - 1 }
}
