//! An HTTP server for tests: on loopback, at a port of its own, with the behaviours good and bad that servers have.
//!
//! A thread per connection, a bounded number of them; all end when the server is dropped.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CONNECTIONS: usize = 256;
/// No connection waits longer for its client.
const SILENCE: Duration = Duration::from_secs(20);

/// How it answers. It may be changed while the server runs.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// Whether it knows ranges.
    pub(crate) ranges: bool,
    /// What it does wrong, and how many answers long.
    pub(crate) fault: Option<(Fault, u32)>,
    /// Sends no `Content-Length`: the body comes in chunks.
    pub(crate) chunked: bool,
    /// After so many answers the file is another one.
    pub(crate) change: Option<(u32, Vec<u8>, Option<String>)>,
    /// `/old` leads to this URL.
    pub(crate) redirect: Option<String>,
    /// What `Authorization` must be.
    pub(crate) authorization: Option<String>,
    /// So many bytes, then a pause.
    pub(crate) slow: Option<(usize, Duration)>,
}

/// What an answer has wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// `Content-Range` begins this much later than asked for; so does the body.
    Start(u64),
    /// `Content-Range` ends this much before the end asked for; so does the body.
    End(u64),
    /// `Content-Range` has this total.
    Total(String),
    /// `Content-Range` is this.
    Words(String),
    /// The body has this many bytes less than `Content-Length`, or than `Content-Range` if it is chunked; then it ends as
    /// a whole one does.
    Fewer(usize),
    /// The body has this many bytes more than `Content-Length`, or than `Content-Range` if it is chunked.
    More(usize),
    /// `Content-Length` is this.
    Length(String),
    /// The connection closes after so many bytes of the body.
    Cut(usize),
    /// A status without a body, with a header.
    Status(u16, Option<(&'static str, String)>),
    /// A header more.
    Header(&'static str, String),
    /// These bytes instead of an answer.
    Raw(Vec<u8>),
    /// No answer: the connection stays open, and silent.
    Silent,
}

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug)]
pub(crate) struct RangeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
    /// Every connection, to be shut down at the end.
    connections: Mutex<Vec<TcpStream>>,
    sent: AtomicU64,
    over: AtomicBool,
}

impl Behaviour {
    /// A good server with a file.
    pub(crate) fn of(content: Vec<u8>) -> Self {
        Self {
            content: Arc::new(content),
            etag: Some("\"v1\"".to_owned()),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            ranges: true,
            fault: None,
            chunked: false,
            change: None,
            redirect: None,
            authorization: None,
            slow: None,
        }
    }
}

impl RangeServer {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            asked: Mutex::default(),
            connections: Mutex::default(),
            sent: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || for_thread.accept(&listener));
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next answer on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour());
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Connections that were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Bytes of bodies, with those that are being sent.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for connection in &*self.shared.connections.lock().unwrap() {
            let _gone = connection.shutdown(std::net::Shutdown::Both).is_ok();
        }
        // It waits for a connection; this one ends it.
        let _woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join().is_ok();
            assert!(ended || thread::panicking(), "the server panicked");
        }
    }
}

impl Shared {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut threads = Vec::new();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            {
                // In one step with the end, which shuts down those that are listed.
                let mut connections = self.connections.lock().unwrap();
                if self.over.load(Ordering::SeqCst) || connections.len() == CONNECTIONS {
                    break;
                }
                connections.push(stream.try_clone().unwrap());
            }
            let shared = Arc::clone(self);
            threads.push(thread::spawn(move || {
                // The client went away, or the server ends.
                let _done = shared.serve(stream).is_ok();
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(asked) = read_request(&mut reader)? {
            let (behaviour, fault) = self.next(asked.clone());
            if !self.answer(&mut stream, &asked, &behaviour, fault.as_ref())? {
                break;
            }
        }
        // It is listed as well, so that dropping it would not close it.
        stream.shutdown(std::net::Shutdown::Both)
    }

    /// How to answer now; counts what changes with the number of answers.
    fn next(&self, asked: Asked) -> (Behaviour, Option<Fault>) {
        self.asked.lock().unwrap().push(asked);
        let mut behaviour = self.behaviour();
        if let Some((left, content, etag)) = behaviour.change.take() {
            if left == 0 {
                behaviour.content = Arc::new(content);
                behaviour.etag = etag;
            } else {
                behaviour.change = Some((left - 1, content, etag));
            }
        }
        let fault = behaviour.fault.as_mut().and_then(|(fault, left)| {
            *left = left.checked_sub(1)?;
            Some(fault.clone())
        });
        (behaviour.clone(), fault)
    }

    /// Returns whether the connection may go on.
    fn answer(
        &self,
        stream: &mut TcpStream,
        asked: &Asked,
        behaviour: &Behaviour,
        fault: Option<&Fault>,
    ) -> io::Result<bool> {
        let simple = |stream: &mut TcpStream, status: u16, header: Option<(&str, &str)>| {
            let header =
                header.map_or(String::new(), |(name, value)| format!("{name}: {value}\r\n"));
            write!(stream, "HTTP/1.1 {status} X\r\n{header}Content-Length: 0\r\n\r\n")?;
            Ok(true)
        };
        match fault {
            Some(Fault::Status(status, header)) => {
                let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
                return simple(stream, *status, header);
            }
            Some(Fault::Raw(bytes)) => {
                stream.write_all(bytes)?;
                return Ok(false);
            }
            Some(Fault::Silent) => {
                // Until the client goes away, or the server ends.
                let _closed = stream.read(&mut [0]);
                return Ok(false);
            }
            _ => {}
        }
        if let Some(target) = behaviour.redirect.as_deref().filter(|_| asked.path == "/old") {
            return simple(stream, 302, Some(("Location", target)));
        }
        if behaviour.authorization.is_some()
            && asked.header("authorization") != behaviour.authorization.as_deref()
        {
            return simple(stream, 401, None);
        }
        if asked.path == "/missing" {
            return simple(stream, 404, None);
        }
        let content = &*behaviour.content;
        let total = content.len() as u64;
        let same = asked.header("if-range").is_none_or(|condition| {
            let strong = behaviour.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
            Some(condition) == strong || Some(condition) == behaviour.last_modified.as_deref()
        });
        let range = asked.header("range").filter(|_| behaviour.ranges && same);
        let range = range.map(|text| wanted(text, total));
        if range == Some(None) {
            let value = format!("bytes */{total}");
            return simple(stream, 416, Some(("Content-Range", &value)));
        }
        let part = range.flatten();
        self.send(stream, behaviour, part.as_ref(), fault)
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        behaviour: &Behaviour,
        part: Option<&Range<u64>>,
        fault: Option<&Fault>,
    ) -> io::Result<bool> {
        let content = &*behaviour.content;
        let mut total = content.len().to_string();
        let mut range = part.cloned().unwrap_or(0..content.len() as u64);
        match fault {
            Some(Fault::Start(by)) => range.start += by,
            Some(Fault::End(by)) => range.end -= by,
            Some(Fault::Total(words)) => total.clone_from(words),
            _ => {}
        }
        // Not copied: it may be a large one.
        let body = content.get(index(range.start)..index(range.end)).unwrap();
        let mut length = body.len().to_string();
        let mut words = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
        let mut cut = usize::MAX;
        let mut extra = 0;
        match fault {
            Some(Fault::Words(other)) => words.clone_from(other),
            Some(Fault::Length(other)) => length.clone_from(other),
            Some(Fault::Fewer(by)) => cut = body.len() - by,
            Some(Fault::Cut(at)) => cut = *at,
            Some(Fault::More(by)) => extra = *by,
            _ => {}
        }
        let status = if part.is_some() { "206 Partial Content" } else { "200 OK" };
        let mut head = format!("HTTP/1.1 {status}\r\n");
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                for text in [name, ": ", value, "\r\n"] {
                    head.push_str(text);
                }
            }
        };
        add("Content-Range", part.map(|_| words.as_str()));
        add("ETag", behaviour.etag.as_deref());
        add("Last-Modified", behaviour.last_modified.as_deref());
        if behaviour.chunked {
            add("Transfer-Encoding", Some("chunked"));
        } else {
            add("Content-Length", Some(&length));
        }
        if let Some(Fault::Header(name, value)) = fault {
            add(name, Some(value));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        let extra = vec![b'!'; extra];
        let total = body.len() + extra.len();
        let whole = total <= cut || (behaviour.chunked && matches!(fault, Some(Fault::Fewer(_))));
        let cut = cut.min(total);
        let of_file = body.get(..cut.min(body.len())).unwrap();
        let behind = extra.get(..cut - of_file.len()).unwrap();
        let (size, pause) = behaviour.slow.unwrap_or((64 << 10, Duration::ZERO));
        for piece in of_file.chunks(size.max(1)).chain(behind.chunks(size.max(1))) {
            if behaviour.chunked {
                write!(stream, "{:x}\r\n", piece.len())?;
            }
            // Counted before: who has them must find them counted.
            self.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            stream.write_all(piece)?;
            if behaviour.chunked {
                stream.write_all(b"\r\n")?;
            }
            if self.over.load(Ordering::SeqCst) {
                return Ok(false);
            }
            thread::sleep(pause);
        }
        if behaviour.chunked && whole {
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(whole)
    }
}

/// The range that is asked for, cut to the file; `Some(None)` is not there.
fn wanted(text: &str, total: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = first.parse().ok()?;
    let end = if last.is_empty() { total } else { last.parse::<u64>().ok()? + 1 };
    (start < total && start < end).then(|| start..end.min(total))
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// A request without a body; `None` when the client is done.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut lines = Vec::new();
    let mut head = reader.by_ref().take(64 << 10);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut lines = lines.into_iter();
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned));
    let Some(path) = path else { return Ok(None) };
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Some(Asked { path, headers: pairs.collect() }))
}
