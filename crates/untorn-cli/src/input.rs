//! stdin in pieces and signals as they come, in one channel: a command that reads stdin can stop in the middle.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Failure, Result};
use untorn::ErrorKind;

const PIECE: usize = 64 << 10;
/// Pieces that wait to be worked on at most.
const WAITING: usize = 16;

/// What comes in.
#[derive(Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    End,
    Failed(io::Error),
    /// SIGINT or SIGTERM: stop reading, finish or abandon what is begun.
    Stop,
}

/// Both threads end with the process: one may be blocked in a read for ever.
pub(crate) fn open() -> Result<Receiver<Input>> {
    let (send, receive) = sync_channel(WAITING);
    let for_signals = send.clone();
    watch_signals(move || {
        for_signals.send(Input::Stop).unwrap_or_default();
    })?;
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read_all(&send))
        .map_err(|e| Failure::plain(ErrorKind::Io, format!("cannot start a thread: {e}")))?;
    Ok(receive)
}

fn read_all(send: &SyncSender<Input>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut piece = vec![0; PIECE];
        let input = match stdin.read(&mut piece) {
            Ok(0) => Input::End,
            Ok(len) => {
                piece.truncate(len);
                Input::Bytes(piece)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Input::Failed(e),
        };
        let last = !matches!(input, Input::Bytes(_));
        if send.send(input).is_err() || last {
            return;
        }
    }
}

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether SIGINT or SIGTERM came; always false before [`watch_signals`].
pub(crate) fn stopped() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Acquire))
}

/// From now on SIGINT and SIGTERM set [`stopped`] and call `then`; a second one ends the process at once.
pub(crate) fn watch_signals(then: impl Fn() + Send + 'static) -> Result<()> {
    let fail =
        |e: io::Error| Failure::plain(ErrorKind::Io, format!("cannot listen for signals: {e}"));
    let stop = Arc::clone(STOP.get_or_init(Arc::default));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(fail)?;
    let listen = move || {
        for signal in signals.forever() {
            if stop.swap(true, Ordering::AcqRel) {
                std::process::exit(128 + signal);
            }
            then();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop).map_err(fail)
}
