//! `Journal::open` over a million events of 128 bytes, without a snapshot: beside a streaming read with a checksum of the
//! same files, and that and a bare loop that decodes. All in memory, as in the case `replay`.

use std::marker::PhantomData;
use std::path::Path;

use serde::{Deserialize, Serialize};
use untorn::Durability;
use untorn::codec::{Codec, Json, Postcard, Raw};
use untorn::journal::{Checkpoint, Journal, JournalOptions, Machine};
use untorn::log::LogOptions;

use super::replay::segments;
use crate::args::Args;
use crate::measure::cpu;
use crate::raw::{checksum, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;
use crate::{Result, alloc};

const SIZE: usize = 128;
const IN_FRAME: u64 = 64;

/// What is counted of an event.
trait Event: Send + Sync + Sized + 'static {
    type Codec: Codec<Self> + Default;
    fn some(number: u64) -> Self;
    fn weight(&self) -> u64;
}

/// Adds the events up: as little as can be done with them.
struct Sum<E>(u64, PhantomData<fn(E)>);

impl<E: Event> Machine for Sum<E> {
    type Event = E;
    type View = u64;
    type EventCodec = E::Codec;
    type ViewCodec = Json;
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, event: &E) {
        self.0 = self.0.wrapping_add(event.weight());
    }

    fn capture(&self) -> u64 {
        self.0
    }

    fn restore(view: u64) -> Result<Self, String> {
        Ok(Self(view, PhantomData))
    }
}

/// Its first eight bytes are looked at where they lie; nothing is made of the others.
struct Glance(u64);

#[derive(Default)]
struct First;

impl Codec<Glance> for First {
    const NAME: &'static str = "first";

    fn encode(&self, event: &Glance, out: &mut Vec<u8>) -> untorn::Result<()> {
        out.extend_from_slice(&event.0.to_le_bytes());
        out.extend_from_slice(&[7; SIZE - 9]);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> untorn::Result<Glance> {
        Ok(Glance(bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))))
    }
}

impl Event for Glance {
    type Codec = First;
    fn some(number: u64) -> Self {
        Self(number)
    }
    fn weight(&self) -> u64 {
        self.0
    }
}

impl Event for Vec<u8> {
    type Codec = Raw;
    fn some(_number: u64) -> Self {
        pattern(SIZE - 1)
    }
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

#[derive(Serialize, Deserialize)]
struct Payment {
    number: u64,
    from: String,
    to: String,
    amount: u32,
    memo: String,
}

impl Event for Payment {
    type Codec = Postcard;
    fn some(number: u64) -> Self {
        Self {
            // Five bytes each as a varint.
            number: (1 << 32) + number,
            from: format!("account-{number:010}"),
            to: format!("account-{:010}", number * 7),
            amount: 1 << 30,
            memo: "a note that fills what is left of the 128 bytes of this record, more or less"
                .to_owned(),
        }
    }
    fn weight(&self) -> u64 {
        u64::from(self.amount) + self.memo.len() as u64
    }
}

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let records = args.number(1_000_000);
    let none = |_: &[Vec<u8>]| Ok(0.0);
    let looked = measure::<Glance>(args, scratch, records, none)?;
    let row = |report: &mut Report, what: &str, pair, target| {
        report.row("recovery", what, "ms of CPU", pair, target);
    };
    row(report, "nothing decoded / read + crc32", &looked.limit, Target::AtMost(1.5));
    let what = "nothing decoded: allocations / records";
    report.row("recovery", what, "", &looked.allocations, Target::AtMost(0.001));
    let raw = measure::<Vec<u8>>(args, scratch, records, none)?;
    row(report, "Raw, a Vec of each / read + crc32", &raw.limit, Target::AtMost(1.5));
    let typed = measure::<Payment>(args, scratch, records, |encoded| {
        let decode = || {
            let mut sum = 0_u64;
            for bytes in encoded {
                sum = sum.wrapping_add(postcard::from_bytes::<Payment>(bytes)?.weight());
            }
            Ok(std::hint::black_box(sum))
        };
        Ok(cpu(decode)?.0)
    })?;
    let what = "Postcard / read + crc32 + 1.1 x decode";
    row(report, what, &typed.both, Target::AtMost(1.0));
    row(report, "Postcard / read + crc32", &typed.limit, Target::None);
    Ok(())
}

#[derive(Default)]
struct Measured {
    limit: Pair,
    both: Pair,
    allocations: Pair,
}

fn measure<E: Event>(
    args: &Args,
    scratch: &Scratch,
    records: u64,
    decode: impl Fn(&[Vec<u8>]) -> Result<f64>,
) -> Result<Measured> {
    let dir = scratch.path("journal");
    let sum = build::<E>(&dir, records)?;
    let segments = segments(&dir.join("log"))?;
    let mut encoded = Vec::new();
    for number in 0..records {
        let mut bytes = Vec::new();
        E::Codec::default().encode(&E::some(number), &mut bytes)?;
        encoded.push(bytes);
    }
    let mut measured = Measured::default();
    for _ in 0..args.rounds {
        let (limit, _) = cpu(|| checksum(&segments))?;
        let decoding = decode(&encoded)?;
        let before = alloc::count();
        let (took, (journal, opened)) =
            cpu(|| Ok(Journal::open(&dir, Sum::<E>(0, PhantomData), options())?))?;
        let allocations = alloc::count() - before;
        if opened.replayed != records || journal.peek(|machine, _| machine.0) != sum {
            return Err(format!("{} of {records} events were replayed", opened.replayed).into());
        }
        journal.close()?;
        measured.limit.push(took, limit);
        measured.both.push(took, limit + 1.1 * decoding);
        measured.allocations.push(allocations as f64, records as f64);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(measured)
}

fn options() -> JournalOptions {
    let log = LogOptions::new().durability(Durability::Buffered);
    JournalOptions::new().log(log).checkpoint(Checkpoint::Manual)
}

fn build<E: Event>(dir: &Path, records: u64) -> Result<u64> {
    let (journal, _) = Journal::open(dir, Sum::<E>(0, PhantomData), options())?;
    for batch in 0..records / IN_FRAME {
        let events = (0..IN_FRAME).map(|n| E::some(batch * IN_FRAME + n)).collect();
        let ticket = journal.submit_batch(events)?;
        journal.wait(&ticket)?;
    }
    for number in records / IN_FRAME * IN_FRAME..records {
        journal.commit(E::some(number))?;
    }
    let sum = journal.peek(|machine, _| machine.0);
    journal.close()?;
    Ok(sum)
}
