//! A ledger that survives `kill -9`: a child process moves money between accounts, this one kills it again and again and
//! looks whether every transfer that was reported is there, and no money was made or lost.
//!
//! ```text
//! cargo run --example ledger -- /tmp/ledger 20
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use untorn::codec::Json;
use untorn::journal::{Checkpoint, Journal, JournalOptions, Machine};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Balances by account, and how many transfers there were.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct Ledger {
    balances: BTreeMap<String, u64>,
    transfers: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Transfer {
    from: String,
    to: String,
    amount: u64,
}

impl Machine for Ledger {
    type Event = Transfer;
    type View = Self;
    type EventCodec = Json;
    type ViewCodec = Json;
    const NAME: &'static str = "ledger";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, transfer: &Transfer) {
        if let Some(balance) = self.balances.get_mut(&transfer.from) {
            *balance -= transfer.amount;
        }
        *self.balances.entry(transfer.to.clone()).or_default() += transfer.amount;
        self.transfers += 1;
    }

    fn capture(&self) -> Self {
        self.clone()
    }

    fn restore(view: Self) -> Result<Self, String> {
        Ok(view)
    }
}

const MONEY: u64 = 1000;
const ACCOUNTS: [&str; 4] = ["ann", "bob", "eve", "joe"];

fn open(dir: &str) -> Result<Journal<Ledger>, Failed> {
    let start = Ledger { balances: [("ann".to_owned(), MONEY)].into(), transfers: 0 };
    let checkpoint = Checkpoint::Auto { min_bytes: 64 << 10, ratio: 4.0 };
    let options = JournalOptions::new().checkpoint(checkpoint).background_checkpoint(true);
    let (journal, report) = Journal::open(dir, start, options)?;
    if let Some(healed) = report.log.healed {
        println!("    cut {} bytes that nobody was told of", healed.bytes);
    }
    Ok(journal)
}

/// Moves money until it is killed. Prints the number of each transfer once it is durable.
fn child(dir: &str) -> Result<(), Failed> {
    let journal = open(dir)?;
    std::thread::scope(|scope| {
        for n in 0..ACCOUNTS.len() {
            let journal = journal.clone();
            scope.spawn(move || -> Result<(), Failed> {
                loop {
                    let (from, to) = (ACCOUNTS[n], ACCOUNTS[(n + 1) % ACCOUNTS.len()]);
                    let number = journal.update(|ledger| {
                        let amount = ledger.balances.get(from).copied().unwrap_or(0) / 3;
                        if amount == 0 {
                            return Err("nothing left"); // no overdraft: nothing is logged
                        }
                        let transfer =
                            Transfer { from: from.to_owned(), to: to.to_owned(), amount };
                        Ok((transfer, ledger.transfers + 1))
                    })?;
                    if let Ok(number) = number {
                        writeln!(std::io::stdout(), "{number}")?;
                    }
                }
            });
        }
    });
    Ok(())
}

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--child", dir] => child(dir),
        [dir] => parent(dir, 10),
        [dir, rounds] => parent(dir, rounds.parse()?),
        _ => Err("usage: ledger DIR [ROUNDS]".into()),
    }
}

fn parent(dir: &str, rounds: u32) -> Result<(), Failed> {
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--child", dir])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        let killed_at = Instant::now() + Duration::from_millis(50 + u64::from(round) * 17 % 100);
        let mut reported = 0;
        for line in lines.map_while(Result::ok) {
            reported = reported.max(line.parse().unwrap_or(0));
            if Instant::now() > killed_at {
                child.kill()?; // SIGKILL: no destructor, no flush
            }
        }
        child.wait()?;
        let journal = open(dir)?;
        let (transfers, money) =
            journal.read(|l| (l.transfers, l.balances.values().sum::<u64>()))?;
        println!(
            "{round:>3}: {reported} transfers reported, {transfers} found, {money} in all accounts"
        );
        if transfers < reported || money != MONEY {
            return Err("something was lost".into());
        }
    }
    Ok(())
}
