//! What every [`Source`] keeps, as tests that any source can run.
//!
//! A [`Fixture`] is the other end of a source: it writes what the source is to send.

mod cases;
mod take;

use super::source::{BoxFuture, Source};
use crate::{Error, ErrorKind, Result};

/// A source under test, with the hand that writes at its other end. Each case makes one anew, empty.
pub trait Fixture: Send {
    /// A source of what is written, connected to nothing yet. Called more than once.
    fn source(&mut self) -> Box<dyn Source>;

    /// Sets a value.
    fn put<'a>(&'a mut self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()>;

    /// Deletes a key.
    fn delete<'a>(&'a mut self, key: &'a str) -> BoxFuture<'a, ()>;

    /// Lets the history go, but not the current values; false if it has no such thing. Default that.
    fn compact(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Deletes all that is there and makes it again under its name; false if it has no such thing. Default that.
    fn recreate(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// Runs all cases; the fixtures of `make` are empty.
///
/// It waits for the signs of life of the source: with a clock that is not simulated that takes as long as they do.
///
/// # Errors
/// `Failed` at the first case that does not hold, with its name; those of the source.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// use untorn::aio::fold::{BoxFuture, MemoryStream, Source, conformance};
///
/// struct Memory(MemoryStream);
///
/// impl conformance::Fixture for Memory {
///     fn source(&mut self) -> Box<dyn Source> {
///         Box::new(self.0.source())
///     }
///     fn put<'a>(&'a mut self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
///         Box::pin(async move {
///             self.0.put(key, value);
///         })
///     }
///     fn delete<'a>(&'a mut self, key: &'a str) -> BoxFuture<'a, ()> {
///         Box::pin(async move {
///             self.0.delete(key);
///         })
///     }
/// }
///
/// conformance::run(|| Memory(MemoryStream::new("test"))).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn run<F: Fixture>(mut make: impl FnMut() -> F) -> Result<()> {
    cases::an_empty_source_is_caught_up_at_once(&mut make()).await?;
    cases::a_fresh_start_sends_what_is_there(&mut make()).await?;
    cases::what_comes_later_is_sent(&mut make()).await?;
    cases::a_start_behind_any_position_sends_the_rest(&mut make()).await?;
    cases::a_scope_is_plain_prefixes(&mut make()).await?;
    cases::values_come_as_they_are(&mut make()).await?;
    cases::versions_grow_with_the_cursor(&mut make()).await?;
    cases::a_listing_is_what_is_there(&mut make()).await?;
    cases::a_dropped_call_loses_nothing(&mut make()).await?;
    cases::closing_is_harmless(&mut make()).await?;
    cases::silence_has_signs_of_life(&mut make()).await?;
    cases::it_is_known_again(&mut make()).await?;
    cases::what_went_is_not_passed_over(&mut make()).await?;
    cases::what_was_made_again_is_another_one(&mut make()).await
}

/// A case that does not hold.
fn check(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::of_caller(ErrorKind::Failed, "conformance", what())) }
}

#[cfg(test)]
mod tests;
