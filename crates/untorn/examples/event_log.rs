//! A log that survives `kill -9`: says what it recovered, then appends each line of stdin and says when it is durable.
//!
//! ```text
//! cargo run --example event_log -- /tmp/events
//! ```
//! Type lines, kill it, start it again: every line that was called durable is there.

use std::io::BufRead as _;

use untorn::log::{Log, LogOptions, Upto};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: event_log DIR")?;
    let (log, report) = Log::open(dir, LogOptions::new())?;
    println!("recovered {}..={}", report.first_seq, report.last_seq);
    if let Some(healed) = &report.healed {
        println!(
            "cut {} bytes that were never acknowledged; copy: {:?}",
            healed.bytes, healed.quarantine
        );
    }
    let mut scan = log.read(log.first_seq(), Upto::Durable)?;
    while let Some(record) = scan.next()? {
        println!("{:>6} {}", record.seq, String::from_utf8_lossy(record.bytes));
    }

    // One thread reads and appends, which never waits for the disk; this one waits. So lines that come while a sync
    // runs share the next one.
    let (send, tickets) = std::sync::mpsc::channel();
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        let appending = log.clone();
        let reader = scope.spawn(move || -> Result<(), untorn::Error> {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.send(appending.append(line.as_bytes())?).is_err() {
                    break;
                }
            }
            Ok(())
        });
        for ticket in tickets {
            println!("durable: {}", ticket.wait()?);
        }
        reader.join().map_err(|_| "the reading thread panicked")??;
        Ok(())
    })?;
    let stats = log.stats();
    println!("{} lines, {} syncs", stats.appends, stats.syncs);
    log.close()?;
    Ok(())
}
