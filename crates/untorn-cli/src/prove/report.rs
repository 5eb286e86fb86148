//! The page of a run: one file, nothing from the network, light and dark.
//!
//! What was tried, the crash matrix, the throughput, how to repeat it, and what it does not prove.

use super::{Proven, Run};
use crate::out::{count, whole};
use untorn::proof::Store;

const STYLE: &str = include_str!("report.css");

/// Says a page together; a piece is put in with [`Page::add`].
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, text: &str) {
        self.0.push_str(text);
    }
}

pub(super) fn page(run: &Run) -> String {
    let mut page = Page::default();
    page.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.add("<title>untorn prove</title>\n<style>\n");
    page.add(STYLE);
    page.add("</style>\n</head>\n<body>\n<main>\n");
    head(&mut page, run);
    failures(&mut page, run);
    tried(&mut page, run);
    matrix(&mut page, run);
    throughput(&mut page, run);
    limits(&mut page, run);
    page.add("</main>\n</body>\n</html>\n");
    page.0
}

fn head(page: &mut Page, run: &Run) {
    let (class, verdict) =
        if run.ok() { ("", "nothing lost, nothing torn") } else { (" bad", "failed") };
    page.add(&format!(
        "<header><h1>untorn prove</h1><span class=\"verdict{class}\">{verdict}</span></header>\n"
    ));
    let stores: Vec<&str> = run.stores.iter().map(|proven| proven.store.name()).collect();
    page.add(&format!(
        "<p class=\"soft\">untorn {} &middot; stores: {} &middot; file system: {} &middot; seed {} &middot; {:.1} s</p>\n",
        env!("CARGO_PKG_VERSION"),
        stores.join(", "),
        escape(&run.dir_fs),
        run.seed,
        run.elapsed.as_secs_f64()
    ));
    let sum = |of: fn(&Proven) -> u64| run.stores.iter().map(of).sum::<u64>();
    let lost = sum(|p| p.kills.lost + p.kills.torn);
    page.add("<div class=\"tiles\">\n");
    for (class, value, name) in [
        ("", sum(|p| p.kills.acknowledged), "writes acknowledged"),
        ("", sum(|p| p.kills.kills), "SIGKILLs"),
        ("", sum(|p| p.explored.crash_states), "states after a power cut"),
        ("", sum(|p| p.explored.faults), "runs with a failing call"),
        (if lost == 0 { " good" } else { " bad" }, lost, "lost or torn"),
        (
            if sum(Proven::violations) == 0 { " good" } else { " bad" },
            sum(Proven::violations),
            "violations",
        ),
    ] {
        page.add(&format!(
            "<div class=\"tile{class}\"><b>{}</b><span>{name}</span></div>\n",
            count(value)
        ));
    }
    page.add("</div>\n");
}

fn failures(page: &mut Page, run: &Run) {
    for proven in run.stores.iter().filter(|proven| proven.failed()) {
        page.add(&format!("<h2 class=\"no\">What failed: {}</h2>\n", proven.store.name()));
        if let Some(path) = &proven.evidence {
            page.add(&format!(
                "<p>The evidence is kept in <code>{}</code>.</p>\n",
                escape(&path.display().to_string())
            ));
        }
        let mut text = proven.kills.texts.join("\n");
        if let Some(violation) = &proven.violation {
            text.push_str(violation);
        }
        page.add(&format!("<pre>{}</pre>\n", escape(text.trim())));
    }
}

fn tried(page: &mut Page, run: &Run) {
    page.add("<h2>What was tried</h2>\n<div class=\"card\"><table><tbody>\n");
    let mut rows = Vec::new();
    if let Some(site) = run.without_sync {
        rows.push((
            "One sync left out",
            format!(
                "The sync <code>{}</code> was taken away on purpose. The explorer must notice, or it proves nothing. \
                 Nothing was killed: the kernel's cache outlives a process, so a kill never shows a missing sync.",
                site.name()
            ),
        ));
    } else {
        rows.push((
            "SIGKILL, on this disk",
            "A child process writes with four threads and reports each acknowledgement after the call returned. It is killed \
             at a random moment. The store is reopened, every acknowledged record and file is compared byte for byte, \
             and the next child goes on with the same store."
                .to_owned(),
        ));
    }
    rows.push((
        "Power cuts, simulated",
        "The same code runs on a simulated disk that knows what was synced. At every call states that a power cut \
         may leave are built: writes lost, torn and reordered, names without files and files without names. The real recovery \
         opens each, and is cut off in the middle too."
            .to_owned(),
    ));
    if run.stores.iter().any(|proven| proven.explored.faults > 0) {
        rows.push((
            "Failing calls, simulated",
            "A call fails: disk full, input and output errors, failed syncs. Afterwards the power is cut as above."
                .to_owned(),
        ));
    }
    if run.without_sync.is_none() {
        rows.push((
            "Throughput, on this disk",
            "Acknowledged writes in turns with the bare system calls that write and sync the same bytes.".to_owned(),
        ));
    }
    for (name, text) in rows {
        page.add(&format!("<tr><td><b>{name}</b></td><td>{text}</td></tr>\n"));
    }
    page.add("</tbody></table></div>\n");
}

fn matrix(page: &mut Page, run: &Run) {
    page.add(
        "<h2>Crash matrix</h2>\n<div class=\"card\"><table>\n<thead><tr><th>kind of crash</th>",
    );
    for proven in &run.stores {
        page.add(&format!("<th class=\"n\">{}</th>", proven.store.name()));
    }
    page.add("</tr></thead>\n<tbody>\n");
    let width = run.stores.len() + 1;
    let group = |page: &mut Page, name: &str| {
        page.add(&format!("<tr class=\"group\"><td colspan=\"{width}\">{name}</td></tr>\n"));
    };
    if run.without_sync.is_none() {
        group(page, "On this disk");
        row(page, run, "killed while it wrote", |p| {
            let good = !p.kills.failed();
            let kills = p.kills.kills - p.kills.early_kills;
            Some((kills, good, format!("{} acknowledged", count(p.kills.acknowledged))))
        });
        row(page, run, "killed before its first acknowledgement", |p| {
            let within = if is_owned(p.store) { "mostly inside recovery" } else { "" };
            Some((p.kills.early_kills, !p.kills.failed(), within.to_owned()))
        });
        row(page, run, "killed in the middle of a checkpoint", |p| match p.store {
            Store::Journal | Store::Chunked => {
                Some((p.kills.in_checkpoint, !p.kills.failed(), String::new()))
            }
            Store::Fold => {
                Some((p.kills.in_checkpoint, !p.kills.failed(), "a compaction".to_owned()))
            }
            Store::Pool => {
                let what = "objects written, and no commit yet";
                Some((p.kills.in_checkpoint, !p.kills.failed(), what.to_owned()))
            }
            _ => None,
        });
        row(page, run, "owner stopped, another process tried to take its place", |p| {
            let refused =
                if is_owned(p.store) { "refused: Locked" } else { "temporaries left alone" };
            Some((p.kills.refused, !p.kills.failed(), refused.to_owned()))
        });
    }
    group(page, "On the simulated disk");
    let mut kinds: Vec<&str> = Vec::new();
    for proven in &run.stores {
        // A kind that only this store has stands behind the one before it, since it may refer to that.
        let mut at = 0;
        for row in &proven.explored.rows {
            if let Some(known) = kinds.iter().position(|&kind| kind == row.what) {
                at = known + 1;
            } else {
                kinds.insert(at, &row.what);
                at += 1;
            }
        }
    }
    for kind in kinds {
        row(page, run, kind, |p| {
            let found = p.explored.rows.iter().find(|row| row.what == kind)?;
            let mut more = Vec::new();
            if found.nested_states > 0 {
                more.push(format!("{} within a recovery", count(found.nested_states)));
            }
            if found.faults > 0 {
                more.push(format!("{} faults", count(found.faults)));
            }
            Some((found.states, true, more.join(", ")))
        });
    }
    row(page, run, "all of it", |p| {
        let explored = &p.explored;
        let points = format!("at {} moments", count(explored.crash_points));
        Some((explored.crash_states, p.violation.is_none(), points))
    });
    page.add("</tbody></table></div>\n");
}

/// Whether a store has one owner at a time; the others are files that anybody replaces.
const fn is_owned(store: Store) -> bool {
    !matches!(store, Store::File | Store::Snapshot)
}

/// One line of the matrix; a store that did not do it has a dash.
fn row(
    page: &mut Page,
    run: &Run,
    kind: &str,
    of: impl Fn(&Proven) -> Option<(u64, bool, String)>,
) {
    page.add(&format!("<tr><td>{}</td>", escape(kind)));
    for proven in &run.stores {
        match of(proven) {
            None => page.add("<td class=\"n soft\">&ndash;</td>"),
            Some((value, good, more)) => {
                let (class, mark) = if good { ("ok", "&#10003;") } else { ("no", "&#10007;") };
                let count = count(value);
                page.add(&format!("<td class=\"n\">{count} <span class=\"{class}\">{mark}</span>"));
                if !more.is_empty() {
                    page.add(&format!("<small>{}</small>", escape(&more)));
                }
                page.add("</td>");
            }
        }
    }
    page.add("</tr>\n");
}

fn throughput(page: &mut Page, run: &Run) {
    const LEFT: f64 = 190.0;
    const ROOM: f64 = 420.0;
    const BAR: f64 = 30.0;
    let measured: Vec<&Proven> = run.stores.iter().filter(|p| p.speed.raw > 0.0).collect();
    if measured.is_empty() {
        return;
    }
    page.add("<h2>Throughput</h2>\n<p class=\"soft\">Synced writes a second, one writer that waits for each, of the journal four: medians of turns.");
    if run.tmpfs {
        page.add(" This directory is in memory, so that the figures say nothing about a disk.");
    }
    let bars = |proven: &&Proven| if proven.speed.log.is_some() { 3.0 } else { 2.0 };
    let height: f64 = measured.iter().map(|proven| bars(proven) * BAR + 24.0).sum();
    page.add(&format!(
        "</p>\n<div class=\"card\"><svg viewBox=\"0 0 880 {height}\" role=\"img\" aria-label=\"throughput\">\n"
    ));
    let mut top = 0.0_f64;
    for proven in measured {
        let speed = &proven.speed;
        let (what, raw) = match proven.store {
            Store::Log => ("append, 128 bytes", "write and fdatasync"),
            Store::Snapshot => ("snapshot, 4 KiB", "write, sync, rename, sync"),
            Store::Journal => ("update, 128 bytes", "write and fdatasync, four a sync"),
            Store::Chunked => ("fill and commit, 1 MiB", "write, sync, rename, sync"),
            Store::Append => ("flush of 1000 x 40 bytes", "write and fdatasync, 40 000 bytes"),
            Store::Fold => ("apply of 100 updates", "write and fdatasync, 13 800 bytes"),
            Store::Pool => ("persist 16 x 4 KiB and sync", "write and fdatasync, 65 KiB"),
            _ => ("replace, 4 KiB", "write, sync, rename, sync"),
        };
        page.add(&format!(
            "<text x=\"0\" y=\"{:.0}\" class=\"name\">{}</text><text class=\"soft\" x=\"0\" y=\"{:.0}\">{:.2} of the raw disk</text>\n",
            top + 30.0,
            proven.store.name(),
            top + 52.0,
            speed.ratio()
        ));
        let mut bars = vec![("ours", what, speed.synced), ("raw", raw, speed.raw)];
        if let Some(log) = speed.log {
            bars.insert(1, ("raw", "append to a log alone", log));
        }
        let most = bars.iter().map(|(_, _, value)| *value).fold(1.0, f64::max);
        let mut y = top + 14.0;
        for (class, label, value) in bars {
            let width = (value / most * ROOM).max(1.0);
            page.add(&format!(
                "<rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"22\" rx=\"4\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{} <tspan class=\"soft\">{label}</tspan></text>\n",
                LEFT + width + 10.0,
                y + 16.0,
                count(whole(value))
            ));
            y += BAR;
        }
        top = y + 10.0;
    }
    page.add("</svg></div>\n");
}

fn limits(page: &mut Page, run: &Run) {
    page.add("<h2>Repeat it</h2>\n");
    page.add(&format!("<p><code>{}</code></p>\n", escape(&run.command)));
    page.add(
        "<p class=\"soft\">The seed repeats the simulated crashes exactly. The moments of the kills are chosen by it too, but what the \
         machine has done by then differs from run to run.</p>\n",
    );
    page.add("<h2>What this does not prove</h2>\n<ul>\n");
    for text in [
        "That this disk keeps what it says it synced. A drive or a virtual machine that lies about a flush is beyond any \
         program; only pulling the plug tells.",
        "That no bit rots. What rots is found by checksums when it is read; it is not prevented.",
        "That the simulated disk can do everything that a real one does. It does what the crash model says: lost, torn and \
         reordered sectors, lost and reordered names, failed calls.",
        "All states: of longer runs they are sampled. More with <code>--states</code> and <code>--kills</code>.",
        "Anything about file systems on a network, or about the program that uses the store.",
    ] {
        page.add(&format!("<li>{text}</li>\n"));
    }
    page.add("</ul>\n");
    page.add(&format!(
        "<footer>Made by <code>untorn prove</code> in {}</footer>\n",
        escape(&run.dir.display().to_string())
    ));
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
