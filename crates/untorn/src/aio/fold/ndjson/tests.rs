use std::io::Write as _;

use super::super::{FollowEnd, FollowHandle, Follower, LineageChange, Phase};
use super::*;
use crate::fold::SnapshotStore as _;
use crate::fold::for_tests::MemFold;

const LONG: Duration = Duration::from_secs(3600);

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
    runtime.unwrap().block_on(test)
}

fn put(key: &str, value: &str, rev: u64) -> String {
    format!("{{\"op\":\"put\",\"key\":\"{key}\",\"value\":\"{value}\",\"rev\":{rev}}}\n")
}

fn delete(key: &str, rev: u64) -> String {
    format!("{{\"op\":\"delete\",\"key\":\"{key}\",\"rev\":{rev}}}\n")
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("feed")
    }

    fn append(&self, text: &str) {
        let mut options = std::fs::OpenOptions::new();
        #[expect(clippy::disallowed_methods, reason = "a feed that another program writes")]
        let mut file = options.create(true).append(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn replace(&self, text: &str) {
        let other = self.0.path().join("other");
        #[expect(clippy::disallowed_methods, reason = "a feed that another program writes")]
        std::fs::write(&other, text).and_then(|()| std::fs::rename(other, self.path())).unwrap();
    }
}

async fn follow(fold: &MemFold, source: NdjsonSource) -> FollowEnd<MemFold> {
    Follower::builder(fold.clone(), source).run(tokio::time::sleep(LONG)).await
}

async fn until(handle: &FollowHandle<MemFold>, rev: u64) {
    handle.wait_for(&WatchCursor::from_u64(rev), LONG).await.unwrap();
}

#[test]
fn a_file_is_followed_to_its_end_and_again() {
    run(async {
        let (place, fold) = (Place::new(), MemFold::new());
        place.append(&(put("a", "1", 1) + &put("b", "2", 2) + &delete("a", 3)));
        // A last line without an end that is whole counts.
        place.append(put("c", "3", 4).trim_end());
        let end = follow(&fold, NdjsonSource::file(place.path())).await;
        end.result.unwrap();
        assert_eq!((fold.text().as_str(), fold.cursor().as_u64()), ("b=2 c=3", Some(4)));
        let applied = fold.look().applied.len();
        follow(&fold, NdjsonSource::file(place.path())).await.result.unwrap();
        assert_eq!(fold.look().applied.len(), applied, "nothing came twice");
        place.append(&("\n".to_owned() + &put("d", "4", 5)));
        follow(&fold, NdjsonSource::file(place.path())).await.result.unwrap();
        assert_eq!(fold.text(), "b=2 c=3 d=4");
    });
}

#[test]
fn a_file_that_grows_is_followed_and_a_torn_line_waits() {
    run(async {
        let (place, fold) = (Place::new(), MemFold::new());
        let handle =
            Follower::builder(fold.clone(), NdjsonSource::growing_file(place.path())).spawn();
        // It is not there yet.
        tokio::time::sleep(LONG).await;
        place.append(&put("a", "1", 1));
        handle.ready().await.unwrap();
        let line = put("b", "2", 2);
        for byte in line.as_bytes() {
            assert_eq!(fold.text(), "a=1");
            place.append(str::from_utf8(&[*byte]).unwrap());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(fold.text(), "a=1 b=2");
        place.append("{\"op\":\"progress\",\"rev\":9}\n");
        until(&handle, 9).await;
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_file_that_ends_before_the_cursor_is_another_one() {
    run(async {
        let (place, fold) = (Place::new(), MemFold::new());
        place.append(&(put("a", "1", 1) + &put("b", "2", 2)));
        let source = || NdjsonSource::growing_file(place.path());
        let handle = Follower::builder(fold.clone(), source()).spawn();
        until(&handle, 2).await;
        place.replace(&put("c", "3", 1));
        let end = handle.join().await;
        assert_eq!(end.result.unwrap_err().kind(), ErrorKind::LineageMismatch);
        assert_eq!(fold.text(), "a=1 b=2");
        let builder = Follower::builder(fold.clone(), source());
        let handle = builder.on_lineage_change(LineageChange::Relist).spawn();
        handle.ready().await.unwrap();
        assert_eq!((fold.text().as_str(), fold.cursor().as_u64()), ("c=3", Some(1)));
        // A file that was replaced by a longer one goes on.
        place.replace(&(put("c", "3", 1) + &put("d", "4", 2)));
        until(&handle, 2).await;
        assert_eq!(fold.text(), "c=3 d=4");
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_pipe_is_read_by_a_thread_of_its_own() {
    run(async {
        let (reader, mut writer) = io::pipe().unwrap();
        let fold = MemFold::new();
        let source = NdjsonSource::reader("pipe", reader);
        let handle = Follower::builder(fold.clone(), source).spawn();
        // Silence is no reason to leave it: it could not be read again.
        tokio::time::sleep(LONG).await;
        writer.write_all((put("a", "1", 1) + &put("b", "2", 2)).as_bytes()).unwrap();
        writer.write_all(put("c", "3", 3).trim_end().as_bytes()).unwrap();
        drop(writer);
        handle.ready().await.unwrap();
        let end = handle.join().await;
        end.result.unwrap();
        assert_eq!((end.store.text().as_str(), end.cursor.as_u64()), ("a=1 b=2 c=3", Some(3)));
    });
}

#[test]
fn a_pipe_is_not_read_a_second_time() {
    run(async {
        let mut source = NdjsonSource::reader("pipe", io::Cursor::new(put("a", "1", 1)));
        source.open(Start::Fresh, &Scope::All).await.unwrap();
        source.close().await;
        let error = source.open(Start::Fresh, &Scope::All).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        let listed = source.list(&Scope::All, true).await;
        assert_eq!(listed.err().map(|error| error.kind()), Some(ErrorKind::Unsupported));
    });
}

#[test]
fn a_bad_line_ends_the_run_behind_what_was_before_it() {
    run(async {
        let (place, fold) = (Place::new(), MemFold::new());
        place.append(&put("a", "1", 1));
        let source = NdjsonSource::growing_file(place.path());
        let handle = Follower::builder(fold.clone(), source).spawn();
        handle.ready().await.unwrap();
        place.append(&(put("b", "2", 2) + "nonsense\n" + &put("c", "3", 3)));
        let mut state = handle.state();
        let stopped = state.wait_for(|state| matches!(state.phase, Phase::Stopped { .. })).await;
        drop(stopped.unwrap());
        let error = handle.stop().await.result.unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Codec, Some(86)));
        assert_eq!(fold.text(), "a=1 b=2");
        // The same in a file that ends, and for a last line that is torn.
        for text in [put("a", "1", 1) + "nonsense\n", put("a", "1", 1) + "{\"op\":"] {
            let (place, fold) = (Place::new(), MemFold::new());
            place.append(&text);
            let end = follow(&fold, NdjsonSource::file(place.path())).await;
            assert_eq!(end.result.unwrap_err().kind(), ErrorKind::Codec);
            assert_eq!(fold.text(), "a=1");
        }
    });
}

#[test]
fn a_listing_is_bounded() {
    run(async {
        let place = Place::new();
        // What was deleted or overwritten does not count.
        place.append(
            &(put("a", "123456", 1) + &put("a", "12", 2) + &put("b", "12", 3) + &delete("b", 4)),
        );
        for (max, fits) in [(7, true), (6, false)] {
            let mut source = NdjsonSource::file(place.path()).limits(1000, max);
            let listed = source.list(&Scope::All, false).await;
            assert_eq!(listed.err().map(|e| e.kind()), (!fits).then_some(ErrorKind::TooLarge));
        }
    });
}
