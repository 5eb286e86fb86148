//! The client: how connections are made, how long they may stay silent, what their failures mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use untorn::{Error, ErrorKind};
use ureq::config::AutoHeaderValue;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Timeout};

use super::remote::Remote;

/// What a connection reads ahead; with the buffer of its fetch it is most of what it costs.
const READ_AHEAD: usize = 256 << 10;
/// The head of a request, with a URL that was signed.
const REQUEST: usize = 32 << 10;

/// How long to wait for a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the name, the connection and TLS.
    pub(crate) connect: Duration,
    /// For the head of an answer.
    pub(crate) answer: Duration,
    /// For the next byte of a body; the body as a whole may take as long as it likes.
    pub(crate) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(30),
        }
    }
}

/// A client that keeps so many connections.
pub(super) fn new(remote: &Remote, connections: usize, patience: Patience) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("untorn/", env!("CARGO_PKG_VERSION")))
        .accept_encoding(AutoHeaderValue::Provided(Arc::new("identity".to_owned())))
        .input_buffer_size(READ_AHEAD)
        .output_buffer_size(REQUEST)
        .max_idle_connections(connections)
        .max_idle_connections_per_host(connections)
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.answer))
        .timeout_per_read(Some(patience.silence))
        .timeout_per_write(Some(patience.silence));
    if remote.is_loopback() {
        config = config.proxy(None);
    }
    Agent::new_with_config(config.build())
}

/// The certificates that this machine trusts. Without any, `https` fails and says so.
fn roots() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.iter().map(|it| Certificate::from_der(it.as_ref()).to_owned()).collect()
}

/// A request that did not come to an answer. `Io` and `TimedOut` are tried again.
pub(super) fn failed(error: ureq::Error) -> Error {
    let told = |kind, words: &str| Error::of_caller(kind, "fetch", words.to_owned());
    match error {
        ureq::Error::Io(e) if is_untrusted(&e) => {
            let words = "the server does not prove that it is the one of that name";
            let words = format!("{words} ({e}); SSL_CERT_FILE can name certificates to trust");
            told(ErrorKind::Failed, &words)
        }
        ureq::Error::Io(e) => Error::of_caller(ErrorKind::Io, "fetch", e),
        ureq::Error::Timeout(what) => {
            let words = match what {
                Timeout::Resolve => "the name of the host is not found in time",
                Timeout::Connect => "the server is not reached in time",
                Timeout::PerRead => "the server sends nothing more",
                _ => "the server does not answer in time",
            };
            told(ErrorKind::TimedOut, words)
        }
        ureq::Error::HostNotFound => {
            told(ErrorKind::Io, "there is no host of that name, or no network")
        }
        ureq::Error::ConnectionFailed => told(ErrorKind::Io, "the server is not reached"),
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            told(ErrorKind::Failed, "the proxy of the environment does not work")
        }
        // What the server sent is no HTTP; the next connection may do better.
        ureq::Error::Protocol(e) => Error::of_caller(ErrorKind::Io, "fetch", e),
        ureq::Error::LargeResponseHeader(..) => {
            told(ErrorKind::Failed, "the head of its answer is too long")
        }
        ureq::Error::Http(_) => told(ErrorKind::InvalidInput, "a header or the URL cannot be sent"),
        other => Error::of_caller(ErrorKind::Failed, "fetch", other),
    }
}

/// No second try makes a certificate good.
fn is_untrusted(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// A body that broke off.
pub(super) fn broken(error: io::Error) -> Error {
    match error.downcast::<ureq::Error>() {
        Ok(error) => failed(error),
        Err(error) => Error::of_caller(ErrorKind::Io, "fetch", error),
    }
}
