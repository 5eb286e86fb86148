//! A file on an HTTP server, as a source of ranges.
//!
//! The first request asks for `bytes=0-`: its answer says whether there are ranges, how long the file is and which version
//! it is. Its body is not thrown away: a fetch that begins where it stands goes on reading it, so that one connection
//! needs one request. Every later answer must be of the same version; bytes of two versions never mix.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use untorn::chunked::{Identity, RangeSource};
use untorn::{Error, ErrorKind, Result};
use ureq::http::{HeaderName, HeaderValue, Uri, header};
use ureq::{Agent, BodyReader};

use super::agent::{self, Patience};
use super::answer::{Known, asks_for_whole, changed};
use super::flight::{Flight, Flights};
use super::rate::Rate;
use super::refused::retry_after;
use super::remote::{self, Remote};
use super::stop::Stop;
use super::stream::Stream;
use super::validators::Head;

/// Redirects that are followed.
const REDIRECTS: u32 = 10;
/// What a fetch reads at once.
const BUFFER: usize = 256 << 10;

/// What a person may wish. Not shown: a header may be a secret.
pub(crate) struct HttpOptions {
    /// Sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// Fetches that run at the same time.
    pub(crate) connections: usize,
    /// Bytes per second, of all connections together.
    pub(crate) limit_rate: Option<u64>,
    pub(crate) patience: Patience,
}

/// A file on a server.
pub(crate) struct HttpSource {
    remote: Remote,
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    connections: usize,
    rate: Option<Rate>,
    /// Held during the first request: there is one.
    first: Mutex<()>,
    /// Held during a fetch from a server without ranges: there is one stream.
    alone: Mutex<()>,
    state: Mutex<State>,
    flights: Flights,
    stop: Stop,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// The URL that the redirects led to.
    url: Option<Uri>,
    parked: Option<Stream>,
    /// Fetches that could not use the parked stream since it was parked.
    missed: usize,
    /// A server that is too busy asked to be left alone until then.
    not_before: Option<Instant>,
}

/// What a request asks for.
#[derive(Clone, Debug)]
enum Ask {
    Whole,
    From(u64),
    Part(Range<u64>),
}

/// An answer with its body.
struct Answer {
    head: Head,
    /// Where the redirects led to.
    url: Uri,
    body: BodyReader<'static>,
}

impl HttpSource {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// `InvalidInput`: the URL is none, or a header cannot be sent.
    pub(crate) fn new(url: &str, options: &HttpOptions) -> Result<Self> {
        let invalid = |why: String| Error::of_caller(ErrorKind::InvalidInput, "fetch", why);
        let remote = Remote::parse(url).map_err(|why| invalid(why.to_owned()))?;
        let mut headers = Vec::new();
        // A header of the person's own counts more than the URL.
        let given =
            |name: &str| options.headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        if let Some(pair) = remote.authorization.as_ref().filter(|_| !given("authorization")) {
            headers.push(("authorization", pair.as_str()));
        }
        headers.extend(options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let headers = headers.into_iter().map(|(name, value)| header_of(name, value));
        let headers = headers.collect::<Result<_, _>>().map_err(invalid)?;
        let connections = options.connections.max(1);
        Ok(Self {
            agent: agent::new(&remote, connections, options.patience),
            remote,
            headers,
            connections,
            rate: options.limit_rate.map(Rate::new),
            first: Mutex::default(),
            alone: Mutex::default(),
            state: Mutex::default(),
            flights: Flights::default(),
            stop: Stop::default(),
        })
    }

    /// Whether the server has no ranges. Then fetch the gaps in order, one at a time: a fetch behind the place where the
    /// stream stands reads and drops what lies between, and one before it begins from the start.
    ///
    /// # Errors
    /// As [`identity`](RangeSource::identity).
    pub(crate) fn is_sequential(&self) -> Result<bool> {
        Ok(!self.known()?.ranges)
    }

    /// When the file was changed last, as far as the server says.
    ///
    /// # Errors
    /// As [`identity`](RangeSource::identity).
    pub(crate) fn changed_at(&self) -> Result<Option<SystemTime>> {
        Ok(self.known()?.version.changed_at())
    }

    /// Hands everything from `from` on to `sink`, in order, and returns where the file ends. Needs neither ranges nor a
    /// length; after an error go on with what came last.
    ///
    /// # Errors
    /// As [`fetch`](RangeSource::fetch).
    pub(crate) fn in_order(
        &self,
        from: u64,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let known = self.known()?;
        let _alone = (!known.ranges).then(|| lock(&self.alone));
        let flight = self.flights.begin(from..known.len.unwrap_or(u64::MAX));
        let mut at = from;
        loop {
            if known.len.is_some_and(|len| at >= len) {
                return Ok(at);
            }
            let mut stream = self.stream_at(&known, at, None, &flight)?;
            at = self.pour(&mut stream, None, &flight, sink)?;
            stream.finish()?;
            if known.len.is_none() {
                return Ok(at);
            }
        }
    }

    /// Ends all that runs: it fails with `Cancelled`. Nothing begins any more.
    pub(crate) fn cancel(&self) {
        self.stop.ring();
        // Who waits for a server that sends nothing wakes up at once.
        self.agent.clone().shutdown();
    }

    /// The first fetch will begin at `at`, or nothing is missing: a first answer that it cannot use ends here.
    pub(crate) fn expect_at(&self, at: Option<u64>) {
        let mut state = lock(&self.state);
        if state.parked.as_ref().is_some_and(|parked| Some(parked.at()) != at) {
            state.parked = None;
        }
    }

    /// Waits so long, or until it is cancelled.
    pub(crate) fn rest(&self, time: Duration) {
        self.stop.wait(time);
    }

    /// The URL as it may be shown.
    pub(crate) fn shown(&self) -> String {
        self.remote.shown()
    }

    /// What is being fetched, without what came in already.
    pub(crate) fn in_flight(&self) -> Vec<Range<u64>> {
        self.flights.ranges()
    }

    /// Bytes that came in, also those that came in vain.
    pub(crate) fn received(&self) -> u64 {
        self.flights.received()
    }

    /// The first answer, asked for once.
    fn known(&self) -> Result<Arc<Known>> {
        let _one = lock(&self.first);
        if let Some(known) = &lock(&self.state).known {
            return Ok(Arc::clone(known));
        }
        let (known, stream, url) = self.begin()?;
        let known = Arc::new(known);
        let mut state = lock(&self.state);
        state.known = Some(Arc::clone(&known));
        state.url = Some(url);
        state.parked = stream;
        Ok(known)
    }

    fn begin(&self) -> Result<(Known, Option<Stream>, Uri)> {
        let url = &self.remote.url;
        let mut answer = self.send(url, &Ask::From(0), None)?;
        if asks_for_whole(&answer.head) {
            answer = self.send(url, &Ask::Whole, None)?;
        }
        let (known, bytes) = Known::of(&answer.head).map_err(|e| self.noted(e))?;
        let stream = Stream::new(answer.body, bytes.0, bytes.1);
        Ok((known, Some(stream).filter(|stream| !stream.is_at_end()), answer.url))
    }

    /// A stream that stands at `at`, or before it where there are no ranges; it has what lies before `until`.
    fn stream_at(
        &self,
        known: &Known,
        at: u64,
        until: Option<u64>,
        flight: &Flight<'_>,
    ) -> Result<Stream> {
        let mut stream = match self.unpark(known, at) {
            Some(stream) => stream,
            None => self.ask(known, at, until)?,
        };
        // Only a server without ranges has bytes before.
        self.pour_away(&mut stream, at, flight)?;
        Ok(stream)
    }

    fn unpark(&self, known: &Known, at: u64) -> Option<Stream> {
        let mut state = lock(&self.state);
        let fits = |parked: &Stream| {
            !parked.is_at_end() && (parked.at() == at || (!known.ranges && parked.at() < at))
        };
        if state.parked.as_ref().is_some_and(fits) {
            return state.parked.take();
        }
        state.missed += 1;
        if state.missed > self.connections {
            // The one that it was for came and found better, or there is none.
            state.parked = None;
        }
        None
    }

    fn park(&self, stream: Stream) {
        let mut state = lock(&self.state);
        state.missed = 0;
        state.parked = Some(stream);
    }

    /// A new answer with the bytes from `at` on, of the version that is known.
    fn ask(&self, known: &Known, at: u64, until: Option<u64>) -> Result<Stream> {
        let asked = known.len.filter(|_| known.ranges).map(|len| at..until.unwrap_or(len));
        let ask = asked.clone().map_or(Ask::Whole, Ask::Part);
        let condition = known.version.condition().filter(|_| asked.is_some());
        let url = lock(&self.state).url.clone().unwrap_or_else(|| self.remote.url.clone());
        let mut answer = self.send(&url, &ask, condition)?;
        if matches!(answer.head.status, 401 | 403 | 404 | 410) && url != self.remote.url {
            // What the redirects led to is only good for a while; they may lead to a new one.
            answer = self.send(&self.remote.url, &ask, condition)?;
            lock(&self.state).url = Some(answer.url.clone());
        }
        let bytes = match &asked {
            Some(asked) => known.check_part(&answer.head, asked, condition.is_some()),
            None => known.check_whole(&answer.head),
        };
        let (start, end) = bytes.map_err(|e| self.noted(e))?;
        Ok(Stream::new(answer.body, start, end))
    }

    /// Follows redirects itself, so that it sees at each of them who may be told what.
    fn send(&self, url: &Uri, ask: &Ask, condition: Option<&str>) -> Result<Answer> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.send_one(&url, ask, condition)?;
            let status = response.status().as_u16();
            let location = response.headers().get(header::LOCATION);
            let Some(location) = location.filter(|_| matches!(status, 301..=303 | 307 | 308))
            else {
                let head = Head::new(status, response.headers(), SystemTime::now());
                return Ok(Answer { head, url, body: response.into_body().into_reader() });
            };
            url = remote::join(&url, location.as_bytes()).ok_or_else(|| {
                let words = "the server redirects to what is no URL";
                Error::of_caller(ErrorKind::Failed, "fetch", words)
            })?;
        }
        let words = "the server sends from one URL to another without end";
        Err(Error::of_caller(ErrorKind::Failed, "fetch", words))
    }

    fn send_one(
        &self,
        url: &Uri,
        ask: &Ask,
        condition: Option<&str>,
    ) -> Result<ureq::http::Response<ureq::Body>> {
        self.wait_for_turn()?;
        let mut request = self.agent.get(url.clone());
        let trusted = self.remote.trusts(url);
        for (name, value) in &self.headers {
            let secret = [header::AUTHORIZATION, header::COOKIE].contains(name);
            if trusted || !secret {
                request = request.header(name, value);
            }
        }
        request = match ask {
            Ask::Whole => request,
            Ask::From(at) => request.header(header::RANGE, format!("bytes={at}-")),
            Ask::Part(part) => {
                let last = part.end.saturating_sub(1);
                request.header(header::RANGE, format!("bytes={}-{last}", part.start))
            }
        };
        if let Some(condition) = condition {
            request = request.header(header::IF_RANGE, condition);
        }
        request.call().map_err(|e| self.or_cancelled(agent::failed(e)))
    }

    /// Reads and drops what lies before `until`.
    fn pour_away(&self, stream: &mut Stream, until: u64, flight: &Flight<'_>) -> Result<()> {
        if stream.at() < until {
            self.pour(stream, Some(until), flight, &mut |_, _| Ok(()))?;
        }
        if stream.at() == until { Ok(()) } else { Err(changed("it is shorter now")) }
    }

    /// Hands over what the stream has before `until`; returns where it stands then.
    fn pour(
        &self,
        stream: &mut Stream,
        until: Option<u64>,
        flight: &Flight<'_>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let piece = self.rate.as_ref().map_or(BUFFER, |rate| rate.piece(BUFFER));
        let mut buffer = vec![0; piece];
        loop {
            self.not_stopped()?;
            let at = stream.at();
            let read = stream.read(&mut buffer, until).map_err(|e| self.or_cancelled(e))?;
            if read.is_empty() {
                // A stream whose end nobody knows ends like this also when it is cut.
                self.not_stopped()?;
                return Ok(at);
            }
            let len = read.len();
            flight.came(len, stream.at());
            sink(at, read)?;
            if let Some(rate) = &self.rate {
                self.stop.wait(rate.take(len as u64, Instant::now()));
            }
        }
    }

    /// A server that is too busy says when to come again: until then none of the connections asks.
    fn wait_for_turn(&self) -> Result<()> {
        let until = lock(&self.state).not_before;
        let time = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(time) = time.filter(|time| *time > Duration::ZERO) {
            self.stop.wait(time);
        }
        self.not_stopped()
    }

    /// Takes note of a server that wants to be left alone.
    fn noted(&self, error: Error) -> Error {
        let wait = retry_after(&error).filter(|_| error.kind() == ErrorKind::WouldBlock);
        if let Some(until) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
            let mut state = lock(&self.state);
            state.not_before = state.not_before.max(Some(until));
        }
        error
    }

    fn not_stopped(&self) -> Result<()> {
        if self.stop.is_rung() { Err(cancelled()) } else { Ok(()) }
    }

    /// Connections that `cancel` closed fail in many ways.
    fn or_cancelled(&self, error: Error) -> Error {
        if self.stop.is_rung() { cancelled() } else { error }
    }
}

/// Without the URL that redirects led to, which may be signed.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("HttpSource")
            .field("remote", &self.remote)
            .field("known", &state.known)
            .field("parked", &state.parked)
            .field("flights", &self.flights)
            .finish_non_exhaustive()
    }
}

impl RangeSource for HttpSource {
    fn identity(&self) -> Result<Identity> {
        let known = self.known()?;
        Ok(known.version.identity(known.len, &self.remote.shown()))
    }

    fn fetch(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let known = self.known()?;
        if let Some(len) = known.len.filter(|len| range.end > *len) {
            let words = format!("the file has {len} bytes, {} were asked for", range.end);
            return Err(Error::of_caller(ErrorKind::OutOfRange, "fetch", words));
        }
        let _alone = (!known.ranges).then(|| lock(&self.alone));
        let flight = self.flights.begin(range.clone());
        let mut at = range.start;
        while at < range.end {
            let mut stream = self.stream_at(&known, at, Some(range.end), &flight)?;
            let reached = self.pour(&mut stream, Some(range.end), &flight, sink)?;
            if reached == at {
                return Err(changed("it is shorter now"));
            }
            at = reached;
            if stream.is_at_end() {
                stream.finish()?;
            } else {
                self.park(stream);
            }
        }
        Ok(())
    }
}

fn cancelled() -> Error {
    Error::of_caller(ErrorKind::Cancelled, "fetch", "interrupted")
}

/// A header that a person gives. The text of an error does not repeat the value.
fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    // These say what is asked for and how it comes: the source sets them, or must not have them.
    const OURS: [&str; 6] = [
        "range",
        "if-range",
        "accept-encoding",
        "content-length",
        "transfer-encoding",
        "connection",
    ];
    let shown = name.escape_default();
    let known = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("no header has the name '{shown}'"))?;
    if OURS.contains(&known.as_str()) {
        return Err(format!("the header {shown} cannot be given"));
    }
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| format!("the value of the header {shown} cannot be sent"))?;
    value.set_sensitive(true);
    Ok((known, value))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
