//! `untorn fetch`: a file of an HTTP server, as a source of ranges for the chunked file, and what the command shows of it.

mod agent;
mod answer;
mod args;
mod bar;
mod content_range;
mod flight;
mod follow;
mod http;
mod passing;
mod rate;
mod refused;
mod remote;
mod run;
mod screen;
mod stop;
mod stream;
mod sum;
mod tell;
mod to_stdout;
mod tries;
mod validators;

pub(crate) use args::{ChunkCommand, Fetch};
pub(crate) use bar::Shown;
pub(crate) use follow::{End, Following, stamp};
pub(crate) use run::run;
pub(crate) use tell::amount;

#[cfg(test)]
#[path = "../../tests/it/range_server.rs"]
mod range_server;
#[cfg(test)]
mod tests;
