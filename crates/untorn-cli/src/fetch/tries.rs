//! How often the server is asked again after an error that may pass.

use std::time::Duration;

use untorn::{Error, ErrorKind, Result};

use super::http::HttpSource;

/// Tries after the first one, without a byte in between.
pub(super) const RETRIES: u32 = 4;
/// How long the first of them waits; each next one twice as long.
pub(super) const BACKOFF: Duration = Duration::from_millis(500);

/// Errors without a byte in between.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: u32,
}

impl Tries {
    /// Whether it is worth another try: an error of the network, and not the last one that is borne.
    pub(super) fn passes(&self, error: &Error) -> bool {
        let kinds = [ErrorKind::Io, ErrorKind::TimedOut, ErrorKind::WouldBlock];
        kinds.contains(&error.kind()) && error.path().is_none() && self.failed < RETRIES
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// `error` itself, if it does not pass, is none of the network, or came once too often.
    pub(super) fn pause(&mut self, source: &HttpSource, error: Error, went_on: bool) -> Result<()> {
        if went_on {
            self.failed = 0;
        }
        if !self.passes(&error) {
            return Err(error);
        }
        source.rest(BACKOFF.saturating_mul(1 << self.failed));
        self.failed += 1;
        Ok(())
    }
}
