//! The journal's commands, and what the other commands say of journals: sound, torn, damaged, held.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use untorn::codec::{Json, Raw};
use untorn::journal::{Journal, JournalOptions, Machine};
use untorn::log::LogOptions;

use crate::{Mounted, check, check_fed, complaint, run_in, untorn};

/// Sums by name.
#[derive(Default)]
struct Sums(BTreeMap<String, u64>);

impl Machine for Sums {
    type Event = (String, u64);
    type View = BTreeMap<String, u64>;
    type EventCodec = Json;
    type ViewCodec = Json;
    const NAME: &'static str = "sums";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, (name, by): &(String, u64)) {
        *self.0.entry(name.clone()).or_default() += by;
    }

    fn capture(&self) -> Self::View {
        self.0.clone()
    }

    fn restore(view: Self::View) -> Result<Self, String> {
        Ok(Self(view))
    }
}

fn open(dir: &Path) -> Journal<Sums> {
    let options = JournalOptions::new().log(LogOptions::new().segment_bytes(4096));
    Journal::open(dir.join("app"), Sums::default(), options).unwrap().0
}

/// Adds events; the journal stays open.
fn add(journal: &Journal<Sums>, count: u64) {
    for n in 0..count {
        journal.commit(("x".repeat(100), n)).unwrap();
    }
}

/// A journal of 100 events with snapshots after 40 and 80, closed.
fn journal(dir: &Path) {
    let journal = open(dir);
    for count in [40, 40, 20] {
        add(&journal, count);
        if count == 40 {
            journal.checkpoint().unwrap();
        }
    }
    journal.close().unwrap();
}

fn opens(dir: &Path) -> Option<u64> {
    let opened = Journal::open(dir.join("app"), Sums::default(), JournalOptions::new());
    opened.ok().map(|(journal, _)| journal.seqs().applied)
}

fn value(dir: &Path, args: &[&str], exit: i32) -> serde_json::Value {
    serde_json::from_str(&check(dir, args, exit)).unwrap()
}

/// The segment that has the event, and where in it the event's bytes are.
fn place(dir: &Path, seq: u64) -> (PathBuf, u64) {
    let log = untorn::log::Log::open_read_only(dir.join("app/log"), LogOptions::new()).unwrap();
    let mut scan = log.read(seq, untorn::log::Upto::Written).unwrap();
    let pos = scan.next().unwrap().unwrap().pos;
    (dir.join(format!("app/log/{:016x}.seg", pos.segment)), pos.frame)
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Damages an event behind its frame's header.
fn damage(dir: &Path, seq: u64) {
    let (path, frame) = place(dir, seq);
    flip(&path, frame + 60);
}

fn snap(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("app/snap/{seq:020}.snap"))
}

#[test]
fn events_are_printed_as_json_with_their_numbers() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    let name = "x".repeat(100);
    let line = |n: u64| format!("[\"{name}\",{n}]\n");
    assert_eq!(
        check(dir, &["journal", "cat", "app", "--from", "99", "--seq"], 0),
        format!("99\t{}100\t{}", line(18), line(19))
    );
    assert_eq!(check(dir, &["journal", "tail", "app", "-n", "1"], 0), line(19));
    let told = value(dir, &["journal", "cat", "app", "--from", "90", "--to", "90", "--json"], 0);
    assert_eq!(
        (&told["seq"], &told["version"], &told["event"][1]),
        (&90.into(), &1.into(), &9.into())
    );
    let tail = check(dir, &["journal", "tail", "app", "--from", "95"], 0);
    assert_eq!(tail.lines().count(), 6);
    // A checkpoint dropped the first ones.
    check(dir, &["journal", "cat", "app", "--from", "1", "--json"], 12);
    let help = check(dir, &["journal", "--help"], 0);
    assert!(help.contains("export") && help.contains("checkpoint"), "{help}");
}

#[test]
fn events_in_another_codec_are_hex() {
    #[derive(Default)]
    struct Bytes;
    impl Machine for Bytes {
        type Event = Vec<u8>;
        type View = Vec<u8>;
        type EventCodec = Raw;
        type ViewCodec = Raw;
        const NAME: &'static str = "bytes";
        const VERSION: u32 = 300;
        fn apply(&mut self, _seq: u64, _event: &Vec<u8>) {}
        fn capture(&self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(_: Vec<u8>) -> Result<Self, String> {
            Ok(Self)
        }
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let (journal, _) = Journal::open(dir.join("app"), Bytes, JournalOptions::new()).unwrap();
    journal.commit(b"text".to_vec()).unwrap();
    journal.commit(b"\xff".to_vec()).unwrap();
    journal.close().unwrap();
    assert_eq!(
        check(dir, &["journal", "cat", "app", "--json"], 0),
        "{\"seq\":1,\"version\":300,\"utf8\":\"text\"}\n{\"seq\":2,\"version\":300,\"hex\":\"ff\"}\n"
    );
    assert_eq!(run_in(dir, &["journal", "cat", "app"], b"").stdout, b"text\n\xff\n");
}

#[test]
fn a_sound_journal_is_told_and_verified() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    for command in [&["journal", "stats", "app"][..], &["inspect", "app"]] {
        let shown = check(dir, command, 0);
        for words in ["a journal of sums", "to 100 in the log, in json", "of event 80", "closed"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let told = value(dir, &[command, &["--json"]].concat(), 0);
        assert_eq!((&told["what"], &told["last_seq"]), (&"journal".into(), &100.into()));
        assert_eq!(told["snapshots"][1]["seq"], 80);
        assert!(told["log_bytes"].as_u64().unwrap() > 0 && told["holder"]["pid"].is_u64());
    }
    for command in [&["journal", "verify", "app"][..], &["verify", "app"]] {
        let shown = check(dir, command, 0);
        assert!(shown.contains("app: sound; an open finds the exact state"), "{shown}");
        let told = value(dir, &[command, &["--json"]].concat(), 0);
        assert_eq!((&told["sound"], &told["opens"]), (&true.into(), &true.into()));
    }
    assert!(check(dir, &["who", "app"], 0).contains("held by nobody"));
    assert!(check(dir, &["recover", "app"], 0).contains("nothing to do"));
    for no_journal in ["app/log", "app/snap", "app/JOURNAL"] {
        check(dir, &["journal", "stats", no_journal, "--json"], 10);
    }
    fs::create_dir(dir.join("empty")).unwrap();
    check(dir, &["journal", "verify", "empty", "--json"], 3);
    let said = complaint(dir, &["log", "cat", "app"], 10);
    assert!(said.contains("untorn journal"), "{said}");
    // Alone, it might be cut below what a snapshot covers.
    let said = complaint(dir, &["recover", "app/log", "--truncate", "--yes"], 12);
    assert!(said.contains("the log of a journal"), "{said}");
}

#[test]
fn damage_that_a_snapshot_covers_costs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    damage(dir, 60);
    let shown = check(dir, &["journal", "verify", "app"], 4);
    assert!(shown.contains("snapshot 80 covers the hole"), "{shown}");
    assert!(shown.contains("damaged  app/log/") && shown.contains("offset"), "{shown}");
    assert!(shown.contains("an open finds the exact state"), "{shown}");
    let told = value(dir, &["verify", "app", "--json"], 4);
    assert_eq!((&told["opens"], &told["covered_by"]), (&true.into(), &80.into()));
    // What is above the snapshot can be read.
    let said = complaint(dir, &["journal", "cat", "app"], 4);
    assert!(said.contains("--from 81"), "{said}");
    assert_eq!(check(dir, &["journal", "cat", "app", "--from", "81"], 0).lines().count(), 20);
    assert_eq!(check(dir, &["journal", "tail", "app", "-n", "50"], 0).lines().count(), 20);
    let before = fs::read(place_of_first(dir)).unwrap();
    let said = check(dir, &["recover", "app", "--truncate", "--yes"], 0);
    assert!(said.contains("snapshot 80 covers"), "{said}");
    assert_eq!(fs::read(place_of_first(dir)).unwrap(), before);
    assert_eq!(opens(dir), Some(100));
}

/// The first segment's path.
fn place_of_first(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir.join("app/log")).unwrap();
    let names = names.map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().unwrap()
}

#[test]
fn damage_above_the_snapshot_is_cut_only_as_it_was_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    damage(dir, 90);
    assert_eq!(opens(dir), None);
    let shown = check(dir, &["journal", "verify", "app"], 4);
    assert!(shown.contains("no snapshot covers the hole"), "{shown}");
    assert!(shown.contains("an open refuses"), "{shown}");
    check(dir, &["inspect", "app", "--json"], 4);
    check(dir, &["journal", "cat", "app", "--json"], 4);
    let truncate = ["recover", "app", "--truncate", "--yes", "--accept-loss"];
    let naming = |range: &'static str| [&truncate[..], &[range]].concat();
    for (args, exit) in [
        (&["recover", "app"][..], 4),
        (&["recover", "app", "--truncate", "--yes"], 4),
        (&naming("91..100"), 12),
        (&naming("90..99"), 12),
    ] {
        let said = complaint(dir, args, exit);
        assert!(said.contains("90..100") && said.contains("nothing was changed"), "{said}");
        check(dir, &[args, &["--json"]].concat(), exit);
    }
    let told = value(dir, &["recover", "app", "--truncate", "--json"], 4);
    assert_eq!((&told["done"], told["lost"].to_string()), (&false.into(), "[90,100]".to_owned()));
    let said = complaint(dir, &["recover", "app", "--salvage", "new", "--yes"], 12);
    assert!(said.contains("behind a hole"), "{said}");
    assert_eq!(opens(dir), None, "nothing was changed");
    let told = value(dir, &[&naming("90..100")[..], &["--json"]].concat(), 5);
    assert_eq!((&told["last_seq"], told["lost"].to_string()), (&89.into(), "[90,100]".to_owned()));
    assert!(Path::new(&dir.join(told["quarantine"][0].as_str().unwrap())).exists());
    assert_eq!(opens(dir), Some(89));
    check(dir, &["journal", "verify", "app"], 0);
}

/// Rot in the very frame that the newest snapshot ends with: in its body it is covered, in its header the snapshot fits no more.
#[test]
fn nothing_is_cut_at_the_event_that_a_snapshot_ends_with() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    let (path, frame) = place(dir, 80);
    flip(&path, frame + 60);
    assert_eq!(opens(dir), Some(100));
    let truncate = ["recover", "app", "--truncate", "--yes", "--accept-loss", "80..100"];
    assert!(check(dir, &truncate, 0).contains("snapshot 80 covers"));
    flip(&path, frame + 8);
    let before = fs::read(&path).unwrap();
    assert!(check(dir, &["journal", "verify", "app"], 4).contains("an open refuses"));
    for args in [&["recover", "app"][..], &truncate] {
        let said = complaint(dir, args, 4);
        assert!(said.contains("nothing can be cut") && said.contains("snapshot 80"), "{said}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_there_is_an_older_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    flip(&snap(dir, 80), 200);
    let shown = check(dir, &["journal", "verify", "app"], 4);
    assert!(shown.contains("damaged  app/snap/") && shown.contains("offset"), "{shown}");
    assert!(shown.contains("an open finds the exact state"), "{shown}");
    let said = check(dir, &["recover", "app"], 0);
    assert!(said.contains("the next checkpoint moves them"), "{said}");
    assert_eq!(opens(dir), Some(100));
    // Both: there is no state to begin with, and nothing that a cut would help.
    flip(&snap(dir, 40), 200);
    let told = value(dir, &["journal", "verify", "app", "--json"], 4);
    assert_eq!((&told["opens"], &told["sound"]), (&false.into(), &false.into()));
    let said = complaint(dir, &["recover", "app", "--truncate", "--yes"], 4);
    assert!(
        said.contains("no snapshot verifies") && said.contains("nothing was changed"),
        "{said}"
    );
    check(dir, &["recover", "app", "--json"], 4);
}

#[test]
fn a_torn_tail_is_no_damage_and_is_healed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let journal = open(dir);
    add(&journal, 10);
    journal.checkpoint().unwrap();
    add(&journal, 5);
    drop(journal);
    // What a crash leaves of a frame that was being written.
    let (path, frame) = place(dir, 15);
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let torn = (end + 7) & !7;
    let begun = bytes[usize::try_from(frame).unwrap()..].get(..40).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(begun, torn as u64).unwrap();
    for command in [&["journal", "verify", "app"][..], &["verify", "app"]] {
        let output = run_in(dir, command, b"");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stderr).contains("torn tail"), "{output:?}");
    }
    assert!(check(dir, &["inspect", "app"], 0).contains("torn tail"));
    let told = value(dir, &["recover", "app", "--dry-run", "--json"], 0);
    assert_eq!((&told["action"], &told["done"]), (&"heal".into(), &false.into()));
    check(dir, &["recover", "app", "--adopt", "--json"], 12);
    let said = check(dir, &["recover", "app"], 0);
    assert!(said.contains("healed a torn tail"), "{said}");
    assert!(check(dir, &["recover", "app"], 0).contains("nothing to do"));
    assert_eq!(opens(dir), Some(15));
}

#[test]
fn beside_a_living_owner_there_is_reading_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let journal = open(dir);
    add(&journal, 30);
    assert!(check(dir, &["who", "app"], 0).contains("held by process"));
    assert!(check(dir, &["journal", "stats", "app"], 0).contains("held by process"));
    check(dir, &["journal", "verify", "app", "--json"], 0);
    check(dir, &["recover", "app", "--json"], 11);
    let mut tail = untorn(&["journal", "tail", "app", "-f", "-n", "1", "--seq"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let seq = |line: &str| line.split('\t').next().unwrap().parse::<u64>().unwrap();
    add(&journal, 5);
    assert_eq!(seq(&lines.next().unwrap()), seq(&first) + 1);
    // A checkpoint drops segments under its eyes; what it has not shown yet is said.
    add(&journal, 200);
    journal.checkpoint().unwrap();
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    assert!(lines.any(|line| seq(&line) == 235));
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn an_artifact_becomes_a_journal() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let journal = open(dir);
    add(&journal, 20);
    journal.export(dir.join("art")).unwrap();
    journal.close().unwrap();
    let shown = check(dir, &["journal", "import", "art", "new"], 0);
    assert!(shown.contains("a journal of sums, up to event 20"), "{shown}");
    check(dir, &["verify", "new"], 0);
    let told = value(dir, &["journal", "import", "art", "other", "--json"], 0);
    assert_eq!((&told["machine"], &told["last_seq"]), (&"sums".into(), &20.into()));
    check(dir, &["journal", "import", "art", "new", "--json"], 12);
    check(dir, &["journal", "import", "app", "x", "--json"], 10);
    flip(&dir.join("art/data/JOURNAL"), 30);
    check(dir, &["journal", "import", "art", "x", "--json"], 4);
    assert!(!dir.join("x").exists());
}

#[test]
fn a_full_disk_imports_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let journal = open(dir);
    add(&journal, 20);
    journal.export(dir.join("art")).unwrap();
    let small = dir.join("small");
    fs::create_dir(&small).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&small, "size=8k") else { return };
    check(dir, &["journal", "import", "art", "small/new", "--json"], 74);
    assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
}

#[test]
fn a_lost_part_is_damage_and_not_another_thing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    journal(dir);
    fs::rename(dir.join("app/JOURNAL"), dir.join("kept")).unwrap();
    for command in ["inspect", "verify", "recover"] {
        check(dir, &[command, "app", "--json"], 4);
    }
    fs::rename(dir.join("kept"), dir.join("app/JOURNAL")).unwrap();
    fs::rename(dir.join("app/log"), dir.join("log")).unwrap();
    for command in ["inspect", "verify", "recover"] {
        check(dir, &[command, "app", "--json"], 4);
    }
}

#[test]
fn an_old_snapshot_becomes_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    check_fed(dir, &["snap", "put", "old"], b"{\"a\":1}", 0);
    let pair = ["convert", "--from", "actionqueue-snapshot", "--to", "snapshot", "old"];
    let to = |more: &[&'static str]| [&pair[..], more].concat();
    check(dir, &to(&["new"]), 0);
    assert_eq!(fs::read(dir.join("new")).unwrap(), fs::read(dir.join("old")).unwrap());
    let told = value(dir, &to(&["blocks", "--layout", "blocks", "--json"]), 0);
    assert_eq!(told["layout"], "blocks");
    assert_eq!(check(dir, &["snap", "get", "blocks"], 0), "{\"a\":1}\n");
    check(dir, &to(&["new", "--json"]), 12);
    check(dir, &to(&["more", "--allow-gaps", "--json"]), 2);
    let text = "some text that is no snapshot, and not a short one";
    fs::write(dir.join("old"), text).unwrap();
    check(dir, &to(&["more", "--json"]), 10);
    check_fed(dir, &["snap", "put", "old"], b"{\"a\":1}", 0);
    flip(&dir.join("old"), 15);
    check(dir, &to(&["more", "--json"]), 4);
    assert!(!dir.join("more").exists());
}
