use super::super::*;
use super::*;
use crate::fold::{KvUpdate, VersionToken};

fn run_on<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
    runtime.unwrap().block_on(test)
}

struct Memory(MemoryStream, Broken);

/// What a source does wrong, so that the suite is seen to notice.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Not,
    Lineage,
    Resume,
    Scope,
    Silent,
    Empty,
}

impl Fixture for Memory {
    fn source(&mut self) -> Box<dyn Source> {
        Box::new(Wrapped(self.0.source(), self.1))
    }

    fn put<'a>(&'a mut self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
        self.0.put(key, value);
        Box::pin(std::future::ready(()))
    }

    fn delete<'a>(&'a mut self, key: &'a str) -> BoxFuture<'a, ()> {
        self.0.delete(key);
        Box::pin(std::future::ready(()))
    }

    fn compact(&mut self) -> BoxFuture<'_, bool> {
        self.0.compact(self.0.head().as_u64().unwrap_or(0));
        Box::pin(std::future::ready(true))
    }

    fn recreate(&mut self) -> BoxFuture<'_, bool> {
        self.0.recreate();
        Box::pin(std::future::ready(true))
    }
}

struct Wrapped(MemorySource, Broken);

impl Source for Wrapped {
    fn identify(&mut self) -> BoxFuture<'_, Result<SourceInfo>> {
        Box::pin(async {
            let mut info = self.0.identify().await?;
            if self.1 == Broken::Lineage {
                info.lineage.id = b"the name".to_vec();
            }
            Ok(info)
        })
    }

    fn open<'a>(&'a mut self, start: Start, scope: &'a Scope) -> BoxFuture<'a, Result<()>> {
        let start = if self.1 == Broken::Resume { Start::Fresh } else { start };
        let scope = if self.1 == Broken::Scope { &Scope::All } else { scope };
        self.0.open(start, scope)
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async {
            loop {
                match self.0.next().await? {
                    SourceEvent::Progress(_) if self.1 == Broken::Silent => {}
                    SourceEvent::Batch { updates, cursor, after } if self.1 == Broken::Empty => {
                        let deletes_empty = |update: KvUpdate| match update.value() {
                            Some(b"") => KvUpdate::delete(update.key(), update.version().clone()),
                            _ => update,
                        };
                        let updates = updates.into_iter().map(deletes_empty).collect();
                        return Ok(SourceEvent::Batch { updates, cursor, after });
                    }
                    event => return Ok(event),
                }
            }
        })
    }

    fn list<'a>(
        &'a mut self,
        scope: &'a Scope,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Listing + 'a>>> {
        self.0.list(scope, keys_only)
    }

    fn verify_anchor<'a>(&'a mut self, anchor: &'a Anchor) -> BoxFuture<'a, Result<AnchorState>> {
        self.0.verify_anchor(anchor)
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

#[test]
fn the_source_in_memory_conforms() {
    for per_batch in [1, 3, 100] {
        let stream = || {
            let stream = MemoryStream::new("test");
            stream.per_batch(per_batch);
            stream
        };
        run_on(run(|| Memory(stream(), Broken::Not))).unwrap();
    }
}

#[test]
fn what_is_broken_is_noticed() {
    let broken = [
        (Broken::Lineage, "made again"),
        (Broken::Resume, "`after` is not"),
        (Broken::Scope, "app.con"),
        (Broken::Silent, "no sign of life"),
        (Broken::Empty, "values"),
    ];
    for (broken, says) in broken {
        let stream = || {
            let stream = MemoryStream::new("test");
            stream.per_batch(1);
            stream
        };
        let error = run_on(run(|| Memory(stream(), broken))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[cfg(feature = "json")]
struct Feed(tempfile::TempDir, u64);

#[cfg(feature = "json")]
impl Feed {
    fn write(&mut self, make: impl FnOnce(VersionToken) -> KvUpdate) -> BoxFuture<'_, ()> {
        use std::io::Write as _;
        self.1 = self.1.saturating_add(1);
        let update = make(VersionToken::from_u64(self.1));
        let mut line = Vec::new();
        crate::fold::ndjson::Line::Update(update).format(&mut line);
        let mut options = std::fs::OpenOptions::new();
        #[expect(clippy::disallowed_methods, reason = "a feed that another program writes")]
        let mut file = options.append(true).open(self.0.path().join("feed")).unwrap();
        file.write_all(&line).unwrap();
        Box::pin(std::future::ready(()))
    }
}

#[cfg(feature = "json")]
impl Fixture for Feed {
    fn source(&mut self) -> Box<dyn Source> {
        Box::new(NdjsonSource::growing_file(self.0.path().join("feed")))
    }

    fn put<'a>(&'a mut self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
        self.write(|version| KvUpdate::put(key, value, version))
    }

    fn delete<'a>(&'a mut self, key: &'a str) -> BoxFuture<'a, ()> {
        self.write(|version| KvUpdate::delete(key, version))
    }
}

#[cfg(feature = "json")]
#[test]
fn a_file_of_lines_conforms() {
    let feed = || {
        let dir = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a feed that another program writes")]
        std::fs::write(dir.path().join("feed"), "").unwrap();
        Feed(dir, 0)
    };
    run_on(run(feed)).unwrap();
}
