//! Files of an HTTP server: a source of ranges for the chunked file, and what the command shows of it.

mod agent;
mod answer;
mod args;
mod bar;
mod content_range;
mod flight;
mod http;
mod rate;
mod refused;
mod remote;
mod stop;
mod stream;
mod sum;
mod validators;

#[cfg(test)]
#[path = "../../tests/it/range_server.rs"]
mod range_server;
#[cfg(test)]
mod tests;
