//! The kill loop: a child writes and reports, gets SIGKILL at a random moment, and what it left is compared with what it reported.
//!
//! Finds wrong order, left-overs, stale claims, state torn between two writes, data kept in user space. Can never find a
//! missing sync, since the kernel's cache outlives the child: that is the explorer's part.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use untorn::{Error, ErrorKind};

use super::content::Rng;
use crate::exit::{Failure, Result, code as exit_code};
use crate::input;

/// What a child said, mostly: what was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    /// The first letter of the line: `a` or a capital acknowledges; others are notes of what it does.
    pub(super) kind: u8,
    pub(super) writer: u32,
    pub(super) counter: u64,
    pub(super) seq: u64,
}

impl Ack {
    const fn acknowledges(&self) -> bool {
        self.kind == b'a' || self.kind.is_ascii_uppercase()
    }
}

/// What the kills of one store found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) acknowledged: u64,
    pub(super) kills: u64,
    /// Kills before the first acknowledgement: mostly inside the recovery of the kill before.
    pub(super) early_kills: u64,
    /// Kills in the middle of a checkpoint, where the store makes any.
    pub(super) in_checkpoint: u64,
    /// Second owners that were refused while the first was stopped.
    pub(super) refused: u64,
    /// What was acknowledged and is not there.
    pub(super) lost: u64,
    /// What is there and is not whole.
    pub(super) torn: u64,
    /// Everything else that must not be.
    pub(super) violations: u64,
    /// The first of them in words.
    pub(super) texts: Vec<String>,
}

const TEXTS_MAX: usize = 50;

impl Findings {
    pub(super) fn lose(&mut self, text: &str) {
        self.lost += 1;
        self.text(text);
    }

    pub(super) fn tear(&mut self, text: &str) {
        self.torn += 1;
        self.text(text);
    }

    pub(super) fn violate(&mut self, text: &str) {
        self.violations += 1;
        self.text(text);
    }

    /// What came of a second owner's attempt while the first one was stopped.
    pub(super) fn refuse<T>(&mut self, opened: Result<T, Error>) {
        match opened.map(drop).map_err(|e| e.kind()) {
            Err(ErrorKind::Locked) => self.refused += 1,
            other => self.violate(&format!("a second owner got {other:?}, not Locked")),
        }
    }

    /// What a kill left, seen without healing it; nothing may be there only as long as nothing was acknowledged.
    pub(super) fn seen<T>(&mut self, looked: Result<T, Error>, nothing_yet: bool) -> Option<T> {
        match looked {
            Ok(seen) => Some(seen),
            Err(e) if e.kind() == ErrorKind::NotFound && nothing_yet => None,
            Err(e) => {
                self.violate(&format!("a reader without a lock: {e}"));
                None
            }
        }
    }

    /// The next owner, who must get it; a full disk says nothing about the store.
    pub(super) fn reopened<T>(&mut self, opened: Result<T, Error>) -> Result<Option<T>> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(e) if e.kind() == ErrorKind::NoSpace => Err(e.into()),
            Err(e) => {
                self.violate(&format!("it does not open: {e}"));
                Ok(None)
            }
        }
    }

    /// What who only reads found beside the stopped owner; he is no intruder.
    pub(super) fn beside(&mut self, read: Result<Option<String>, Error>) {
        match read {
            Ok(None) => {}
            Ok(Some(flaw)) => self.tear(&format!("a reader beside the stopped owner: {flaw}")),
            Err(e) => self.violate(&format!("a reader beside the stopped owner: {e}")),
        }
    }

    fn text(&mut self, text: &str) {
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(format!("kill {}: {text}", self.kills));
        }
    }

    pub(super) const fn failed(&self) -> bool {
        self.lost + self.torn + self.violations > 0
    }
}

/// A store as the kill loop sees it.
pub(super) trait Victim {
    fn name(&self) -> &'static str;

    /// Becomes the owner, compares the store with what was acknowledged, and lets go of it.
    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()>;

    /// A second owner's attempt while the first is stopped.
    fn intrude(&mut self, found: &mut Findings) -> Result<()>;
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) kills: u64,
    pub(super) until: Option<Instant>,
}

pub(super) fn run(
    victim: &mut impl Victim,
    dir: &Path,
    seed: u64,
    limits: Limits,
    mut progress: impl FnMut(&Findings),
) -> Result<Findings> {
    let mut found = Findings::default();
    let mut rng = Rng::new(seed);
    let mut round = 0_u32;
    while found.kills < limits.kills && !found.failed() {
        if input::stopped() {
            return Err(super::interrupted());
        }
        // At least the round with the second owner.
        if round > 0 && limits.until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let child = Writing::start(victim.name(), dir, seed, round)?;
        let early = round > 0 && rng.below(5) == 0;
        if early {
            thread::sleep(Duration::from_micros(rng.below(25_000)));
        } else {
            child.wait_for_first_ack()?;
            thread::sleep(Duration::from_micros(rng.below(50_000)));
        }
        if round == 0 {
            child.stop()?;
            victim.intrude(&mut found)?;
            child.signal(Signal::CONT)?;
            // It must be able to go on: one that cannot ends by itself, which is told below.
            thread::sleep(Duration::from_millis(20));
        }
        let acks = child.kill(&mut found)?;
        let acknowledged = acks.iter().filter(|ack| ack.acknowledges()).count() as u64;
        found.acknowledged += acknowledged;
        found.kills += 1;
        found.early_kills += u64::from(acknowledged == 0);
        victim.check(round, &acks, &mut found)?;
        progress(&found);
        round += 1;
    }
    Ok(found)
}

/// A child that writes.
struct Writing {
    child: Child,
    first: std::sync::mpsc::Receiver<()>,
    acks: JoinHandle<Vec<Ack>>,
}

impl Writing {
    fn start(store: &str, dir: &Path, seed: u64, round: u32) -> Result<Self> {
        let fail = |e| Failure::io("start the writing process", Path::new("untorn"), e);
        let exe = std::env::current_exe().map_err(fail)?;
        let mut child = Command::new(exe)
            .args(["prove-child", "--store", store])
            .arg("--dir")
            .arg(dir)
            .args(["--seed", &seed.to_string(), "--round", &round.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (tell, first) = channel();
        let stdout = child.stdout.take();
        let acks = thread::spawn(move || stdout.map_or_else(Vec::new, |out| listen(out, &tell)));
        Ok(Self { child, first, acks })
    }

    fn wait_for_first_ack(&self) -> Result<()> {
        // A disk that is busy may take long; if the child died, the sender is dropped and this returns at once.
        match self.first.recv_timeout(Duration::from_secs(60)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let what = "the writing process got nothing acknowledged within 60 s";
                Err(Failure::plain(ErrorKind::TimedOut, what))
            }
        }
    }

    /// Stops it, and waits until all its threads stand: one that is inside a call of the disk gets to the call's end first.
    fn stop(&self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(1);
        const PAUSES: u32 = 10_000;
        self.signal(Signal::STOP)?;
        let tasks = Path::new("/proc").join(self.child.id().to_string()).join("task");
        for _ in 0..PAUSES {
            // Where there is no such list it is waited for no longer.
            let Ok(list) = std::fs::read_dir(&tasks) else { break };
            let stands = |task: std::io::Result<std::fs::DirEntry>| {
                let status =
                    task.and_then(|task| std::fs::read_to_string(task.path().join("status")));
                status
                    .map_or(true, |status| status.lines().any(|line| line.starts_with("State:\tT")))
            };
            if list.into_iter().all(stands) {
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.map_err(|e| Failure::plain(ErrorKind::Io, format!("cannot signal the child: {e}")))
    }

    fn kill(mut self, found: &mut Findings) -> Result<Vec<Ack>> {
        let fail = |e| Failure::io("kill", Path::new("the writing process"), e);
        self.child.kill().map_err(fail)?;
        let status = self.child.wait().map_err(fail)?;
        if let Some(code) = status.code() {
            let mut said = String::new();
            if let Some(mut stderr) = self.child.stderr.take() {
                // Only words for the evidence.
                let _read = stderr.read_to_string(&mut said).is_ok();
            }
            // A full or failing disk says nothing about the store.
            if code == i32::from(exit_code::IO) {
                let what = format!("the disk failed the writing process: {}", said.trim());
                return Err(Failure::plain(ErrorKind::Io, what));
            }
            found.violate(&format!(
                "the writing process ended by itself with code {code}: {}",
                said.trim()
            ));
        }
        let acks = self.acks.join();
        acks.map_err(|_| Failure::plain(ErrorKind::Failed, "the listening thread panicked"))
    }
}

fn listen(stdout: impl std::io::Read, first: &Sender<()>) -> Vec<Ack> {
    let mut acks = Vec::new();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Some(&kind) = line.as_bytes().first() else { continue };
        let mut words = line.split(' ').skip(1);
        let mut number = || words.next()?.parse::<u64>().ok();
        let (Some(writer), Some(counter), Some(seq)) = (number(), number(), number()) else {
            continue;
        };
        let writer = u32::try_from(writer).unwrap_or(u32::MAX);
        let ack = Ack { kind, writer, counter, seq };
        acks.push(ack);
        if ack.acknowledges() {
            // Nobody listens after the first.
            let _told = first.send(()).is_ok();
        }
    }
    acks
}

/// All names in a directory.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let fail = |e| Failure::io("list", dir, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
