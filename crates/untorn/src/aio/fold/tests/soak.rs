//! Random histories with random faults: what the fold has in the end is what the stream has.

use super::*;

/// A small generator, so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(sides).unwrap_or_default()
    }
}

#[test]
fn the_fold_is_the_stream_after_any_history() {
    for seed in 1..=300_u64 {
        run(async {
            let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let (fold, stream) = (MemFold::new(), MemoryStream::new("test"));
            stream.per_batch(usize::try_from(1 + dice.roll(4)).unwrap());
            let mut handle = None;
            // Two in a row confirm each other, and nobody could tell.
            let mut lied = false;
            for step in 0..60 {
                let key = format!("k{}", dice.roll(8));
                match dice.roll(16) {
                    0..6 => {
                        stream.put(key, format!("{step}"));
                    }
                    6..9 => {
                        stream.delete(key);
                    }
                    9 => stream.cut(),
                    10 => stream.compact(stream.head().as_u64().unwrap_or(0)),
                    11..13 => {
                        let faults = [
                            MemoryFault::Drop,
                            MemoryFault::Duplicate,
                            MemoryFault::Reorder,
                            MemoryFault::End,
                            MemoryFault::Error(ErrorKind::Io),
                            MemoryFault::Expire,
                            MemoryFault::Hang,
                            MemoryFault::HangAfterReconnect,
                            MemoryFault::CompactWhileOpening,
                            MemoryFault::EmptyListing,
                        ];
                        let fault = faults[usize::try_from(dice.roll(10)).unwrap()].clone();
                        let empty = fault == MemoryFault::EmptyListing;
                        if !(empty && lied) {
                            stream.fault_after(dice.roll(3), fault);
                        }
                        lied |= empty;
                    }
                    13 => {
                        stream.recreate();
                        stream.put("again", "1");
                    }
                    14 => tokio::time::sleep(Duration::from_millis(dice.roll(50_000))).await,
                    _ => {
                        if let Some(running) = handle.take() {
                            let end: FollowEnd<MemFold> = FollowHandle::stop(running).await;
                            end.result.unwrap();
                        }
                    }
                }
                if handle.is_none() && dice.roll(2) == 0 {
                    let builder = follower(&fold, &stream).batch(
                        usize::try_from(1 + dice.roll(5)).unwrap(),
                        Duration::from_millis(dice.roll(20)),
                        1 << 20,
                    );
                    let builder = builder.on_lineage_change(LineageChange::Relist);
                    handle = Some(builder.channel(2).spawn());
                }
            }
            let handle = handle.unwrap_or_else(|| {
                follower(&fold, &stream).on_lineage_change(LineageChange::Relist).spawn()
            });
            stream.put("last", "1");
            for _ in 0..40 {
                tokio::time::sleep(LONG).await;
                if fold.text() == text(&stream) {
                    break;
                }
            }
            assert_eq!(fold.text(), text(&stream), "seed {seed}, {:?}", handle.state().borrow());
            handle.stop().await.result.unwrap();
            assert_eq!(stream.readers(), 0);
        });
    }
}

/// Threads that run at once, without a clock that waits for them.
#[test]
fn a_fold_follows_a_busy_stream_on_several_threads() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (fold, stream) = (MemFold::new(), MemoryStream::new("test"));
        let handle = follower(&fold, &stream).batch(50, Duration::from_millis(1), 1 << 20).spawn();
        let writer = stream.clone();
        let writing = tokio::spawn(async move {
            for n in 0..20_000 {
                writer.put(format!("k{}", n % 500), format!("{n}"));
                if n % 100 == 0 {
                    writer.delete(format!("k{}", n % 37));
                    tokio::task::yield_now().await;
                }
            }
        });
        writing.await.unwrap();
        catch_up(&handle, &fold, &stream).await;
        handle.stop().await.result.unwrap();
    });
}
