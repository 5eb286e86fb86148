//! An artifact of schema 2: that crate writes one only while it follows a source, for the scope that it follows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipstream::{
    AppendLogSnapshot, BatchConfig, ExpiryRepair, ExportRequest, KvError, KvUpdate, KvWatcher,
    WatchCursor, WatchScope, watch_applied,
};
use tokio::sync::{mpsc, oneshot, watch};
use untorn::artifact;
use untorn::fold::pgss;

use crate::files::{fs, open, ours, put};

/// Says two things and then nothing more.
struct Still;

#[async_trait]
impl KvWatcher for Still {
    async fn watch_all(&self, _: mpsc::Sender<KvUpdate>) -> Result<(), KvError> {
        unreachable!("it is asked for prefixes")
    }

    async fn watch_prefix(&self, _: &str, _: mpsc::Sender<KvUpdate>) -> Result<(), KvError> {
        unreachable!("it is asked for several")
    }

    async fn watch_prefixes(&self, _: &[&str], tx: mpsc::Sender<KvUpdate>) -> Result<(), KvError> {
        for update in [put("a.1", b"one", 1), put("b.2", b"", 2)] {
            tx.send(update).await.expect("it listens");
        }
        std::future::pending().await
    }
}

#[test]
fn an_artifact_with_a_scope_verifies_and_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open(&dir.path().join("edge.snap"));
    let dest = dir.path().join("artifact");
    let (exports, requests) = mpsc::channel(1);
    let (shutdown, stop) = watch::channel(false);
    let (applied, mut seen) = watch::channel(0);
    let export = async {
        seen.wait_for(|cursor| *cursor == 2).await.expect("it applies both");
        let (reply, answer) = oneshot::channel();
        let request = ExportRequest { dest_dir: dest.clone(), reply };
        exports.send(request).await.map_err(drop).expect("it takes requests");
        let said = answer.await.expect("it answers").expect("it exports");
        shutdown.send(true).expect("it listens");
        said
    };
    let watched = watch_applied(
        Arc::new(Still),
        WatchScope::Prefixes(vec!["a.".to_owned(), "b.".to_owned()]),
        None,
        ExpiryRepair::<AppendLogSnapshot>::None,
        Some(store),
        Some(requests),
        BatchConfig { window: Duration::from_millis(1), ..BatchConfig::default() },
        |update: &KvUpdate| Some(update.key().to_owned()),
        |_: Vec<String>| {},
        move |cursor: WatchCursor| {
            applied.send_replace(cursor.as_u64().unwrap_or(0));
        },
        stop,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (said, end) = runtime.block_on(async {
        let watched = async { watched.await.expect("it ends") };
        let (mut export, mut watched) = (std::pin::pin!(export), std::pin::pin!(watched));
        tokio::select! {
            said = &mut export => (said, watched.await),
            _ = &mut watched => panic!("it ended before it was told to"),
        }
    });
    assert_eq!((said.schema_version, end.as_u64()), (2, Some(2)));
    let manifest = artifact::verify(&dest).unwrap();
    let scope = Some(vec!["a.".to_owned(), "b.".to_owned()]);
    assert_eq!((manifest.schema_version, &manifest.scope), (2, &scope));
    let (manifest, image) = pgss::read_artifact(&dest, fs()).unwrap();
    assert_eq!((manifest.scope, manifest.cursor.as_u64()), (scope, Some(2)));
    let number = |n: u64| n.to_be_bytes().to_vec();
    let expected =
        [("a.1".to_owned(), b"one".to_vec(), number(1)), ("b.2".to_owned(), vec![], number(2))];
    assert_eq!(ours(&image), expected);
}
