//! Which states a power cut may leave: the choices there are, their enumeration, and the building of one.
//!
//! A `Layout` lists the choices in a fixed order: the name changes, then for each file that has anything pending, by
//! inode, its size, its metadata and its units. A `Pick` is one value for each. 0 is always what the disk holds for
//! certain, the largest value what programs see now.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::inode::{FileNode, Ino, Inode, Node, Pend, settle, trim_tail};
use super::model::{DiskModel, Names, Unwritten};
use super::names;
use super::page::{self, PAGE, SECTOR, SECTORS, Slot};
use super::rng::Rng;
use super::state::State;

/// One permitted state of the disk after a power cut, out of those of one moment.
///
/// It prints as a short string and parses from it, so that a failure can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pick {
    names: Vec<bool>,
    choices: Vec<u16>,
}

/// The states that the disk may hold if power fails now: see [`SimFs::power_states`](super::SimFs::power_states).
#[derive(Debug)]
pub struct PowerStates {
    picks: std::vec::IntoIter<Pick>,
    /// Whether these are all of them.
    complete: bool,
}

impl PowerStates {
    /// Whether these are all permitted states, not a sample.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Iterator for PowerStates {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        self.picks.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.picks.size_hint()
    }
}

impl ExactSizeIterator for PowerStates {}

/// All choices of one moment.
pub(super) struct Layout<'a> {
    state: &'a State,
    model: DiskModel,
    seed: u64,
    needs: Vec<Vec<usize>>,
    files: Vec<FileChoices<'a>>,
    /// The tree of the names picked last: picks that follow each other mostly agree on them.
    last: Option<(Vec<bool>, Arc<State>)>,
}

struct FileChoices<'a> {
    ino: Ino,
    file: &'a FileNode,
    pend: &'a Pend,
    /// Where its choices start in `Pick::choices`: size, metadata, units.
    first: usize,
    sizes: Vec<u64>,
    units: Vec<Unit>,
}

/// A unit that may be in more than one version.
struct Unit {
    page: usize,
    mask: u8,
    /// Indices into the page's history; a choice of n > 0 is the n-th of them.
    versions: Vec<usize>,
}

impl Unit {
    fn start(&self) -> u64 {
        (self.page * PAGE) as u64 + u64::from(self.mask.trailing_zeros()) * SECTOR as u64
    }
}

impl FileChoices<'_> {
    fn count(&self) -> usize {
        2 + self.units.len()
    }

    /// How many values each of its choices has.
    fn radix(&self, index: usize) -> u16 {
        let count = match index {
            0 => self.sizes.len(),
            1 => self.pend.metas.len() + 1,
            unit => self.units.get(unit - 2).map_or(1, |unit| unit.versions.len() + 1),
        };
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// The value of a choice if everything up to `seq` had reached the disk.
    fn at_time(&self, index: usize, seq: u64) -> u16 {
        let value = match index {
            0 => {
                let steps = self.pend.sizes.iter().rev();
                let len = steps.into_iter().find(|step| step.seq <= seq);
                let len = len.map_or(self.pend.len, |step| step.to);
                self.sizes.iter().rposition(|size| *size == len).unwrap_or(0)
            }
            1 => self.pend.metas.iter().filter(|(at, _)| *at <= seq).count(),
            unit => self.units.get(unit - 2).map_or(0, |unit| {
                let history = self.pend.history.get(&unit.page);
                let seqs = unit.versions.iter().filter_map(|v| history?.versions.get(*v));
                seqs.filter(|version| version.seq <= seq).count()
            }),
        };
        u16::try_from(value).unwrap_or(u16::MAX)
    }
}

impl<'a> Layout<'a> {
    pub(super) fn new(state: &'a State, model: &DiskModel, seed: u64) -> Self {
        let mut files = Vec::new();
        let mut first = 0;
        for (ino, inode) in state.numbers() {
            let Node::File(file) = &inode.node else { continue };
            let Some(pend) = file.pend.as_deref() else { continue };
            let choices = FileChoices {
                ino,
                file,
                pend,
                first,
                sizes: sizes(file, pend, if model.whole_pages() { PAGE } else { SECTOR } as u64),
                units: units(pend, model.whole_pages()),
            };
            first += choices.count();
            files.push(choices);
        }
        let needs = names::dependencies(&state.names, model.names);
        Self { state, model: *model, seed, needs, files, last: None }
    }

    fn slots(&self) -> usize {
        self.files.last().map_or(0, |file| file.first + file.count())
    }

    fn radixes(&self) -> Vec<u16> {
        self.files.iter().flat_map(|file| (0..file.count()).map(|i| file.radix(i))).collect()
    }

    pub(super) fn none(&self) -> Pick {
        Pick { names: vec![false; self.needs.len()], choices: vec![0; self.slots()] }
    }

    pub(super) fn all(&self) -> Pick {
        let choices = self.radixes().into_iter().map(|radix| radix - 1).collect();
        Pick { names: vec![true; self.needs.len()], choices }
    }

    /// The permitted picks: all of them if there are at most `limit`, else the extremes and `random` more.
    pub(super) fn picks(&mut self, limit: usize, random: usize, rng: &mut Rng) -> PowerStates {
        let (picks, complete) = match self.every(limit) {
            Some(picks) => (picks, true),
            None => (self.sample(limit, random, rng), false),
        };
        PowerStates { picks: picks.into_iter(), complete }
    }

    fn every(&mut self, limit: usize) -> Option<Vec<Pick>> {
        let mut picks = Vec::new();
        // What each file can be does not depend on the names, only whether it matters.
        let alternatives: Vec<Option<Vec<Vec<u16>>>> =
            self.files.iter().map(|file| every_content(file, limit)).collect();
        for names in names::every(&self.needs, limit)? {
            let tree = self.tree(&names);
            let mut partial = vec![self.none().choices];
            for (file, contents) in self.files.iter().zip(&alternatives) {
                if tree.inode(file.ino).is_none() {
                    continue;
                }
                let contents = contents.as_ref()?;
                if partial.len().checked_mul(contents.len())? + picks.len() > limit {
                    return None;
                }
                let mut next = Vec::with_capacity(partial.len() * contents.len());
                for choices in &partial {
                    for content in contents {
                        let mut choices = choices.clone();
                        choices[file.first..file.first + content.len()].copy_from_slice(content);
                        next.push(choices);
                    }
                }
                partial = next;
            }
            if picks.len() + partial.len() > limit {
                return None;
            }
            picks.extend(partial.into_iter().map(|choices| Pick { names: names.clone(), choices }));
        }
        Some(picks)
    }

    /// The states that find nearly everything: none, all, every prefix, one missing, one alone, one kind only.
    fn sample(&self, limit: usize, random: usize, rng: &mut Rng) -> Vec<Pick> {
        let (none, all) = (self.none(), self.all());
        let mut found = vec![all.clone(), none.clone()];
        let radixes = self.radixes();
        let is_size: Vec<bool> =
            self.files.iter().flat_map(|file| (0..file.count()).map(|i| i == 0)).collect();
        let only = |names: bool, size: bool, rest: bool| {
            let names = if names { all.names.clone() } else { none.names.clone() };
            let choose = |(slot, value): (usize, &u16)| {
                let keep = if is_size[slot] { size } else { rest };
                if keep { *value } else { 0 }
            };
            Pick { names, choices: all.choices.iter().enumerate().map(choose).collect() }
        };
        for (size, rest) in [(true, false), (false, true), (true, true), (false, false)] {
            found.push(only(true, size, rest));
            found.push(only(false, size, rest));
        }
        let share = (limit / 4).max(8);
        let mut times: Vec<u64> = self.state.names.iter().map(|op| op.seq).collect();
        for file in &self.files {
            times.extend(file.pend.sizes.iter().map(|step| step.seq));
            times.extend(file.pend.metas.iter().map(|(seq, _)| *seq));
            let versions = file.pend.history.values().flat_map(|history| &history.versions);
            times.extend(versions.map(|version| version.seq));
        }
        times.sort_unstable();
        times.dedup();
        for seq in thin(times, share) {
            found.push(self.at_time(seq));
        }
        // One missing, one alone.
        for slot in thin((0..radixes.len()).filter(|slot| radixes[*slot] > 1).collect(), share / 2)
        {
            let mut missing = all.clone();
            missing.choices[slot] = 0;
            found.push(missing);
            let mut alone = only(true, true, false);
            alone.choices[slot] = all.choices[slot];
            found.push(alone);
            for value in 1..(radixes[slot] - 1).min(8) {
                let mut between = all.clone();
                between.choices[slot] = value;
                found.push(between);
            }
        }
        for op in thin((0..self.needs.len()).collect(), share) {
            let mut without = all.names.clone();
            without[op] = false;
            let names = names::permitted(&self.needs, without);
            found.push(Pick { names, choices: all.choices.clone() });
            let mut with = none.names.clone();
            with[op] = true;
            let names = names::closure(&self.needs, with);
            found.push(Pick { names, choices: all.choices.clone() });
        }
        found.extend((0..random).map(|_| self.random(&radixes, rng)));
        let mut seen = HashSet::new();
        found.retain(|pick| seen.insert(pick.clone()));
        found
    }

    fn at_time(&self, seq: u64) -> Pick {
        let choices = self
            .files
            .iter()
            .flat_map(|file| (0..file.count()).map(move |index| file.at_time(index, seq)))
            .collect();
        let names = self.state.names.iter().map(|op| op.seq <= seq).collect();
        Pick { names, choices }
    }

    fn random(&self, radixes: &[u16], rng: &mut Rng) -> Pick {
        // Mostly all, mostly nothing, or anything: each finds what the others miss.
        let bias = rng.below(3);
        let mut take = |radix: u16| -> u16 {
            let last = radix - 1;
            match bias {
                0 if rng.below(4) > 0 => last,
                1 if rng.below(4) > 0 => 0,
                _ => u16::try_from(rng.below(u64::from(radix))).unwrap_or(last),
            }
        };
        let choices = radixes.iter().map(|radix| take(*radix)).collect();
        let wanted = self.needs.iter().map(|_| take(2) == 1).collect();
        let names = if self.model.names == Names::Ordered {
            let upto = rng.below(self.needs.len() as u64 + 1) as usize;
            (0..self.needs.len()).map(|index| index < upto).collect()
        } else {
            names::permitted(&self.needs, wanted)
        };
        Pick { names, choices }
    }

    /// Brings a pick of another moment into the bounds of this one.
    pub(super) fn fit(&self, pick: &Pick) -> Pick {
        let wanted =
            (0..self.needs.len()).map(|i| pick.names.get(i).copied().unwrap_or(false)).collect();
        let names = names::permitted(&self.needs, wanted);
        let value = |(slot, radix): (usize, u16)| {
            pick.choices.get(slot).copied().unwrap_or(0).min(radix - 1)
        };
        Pick { names, choices: self.radixes().into_iter().enumerate().map(value).collect() }
    }

    /// Picks one step nearer to all or to nothing, best first: for making a failure plainer.
    pub(super) fn simpler(&self, pick: &Pick) -> Vec<Pick> {
        let (none, all) = (self.none(), self.all());
        let mut found = vec![all.clone(), none];
        found.push(Pick { names: all.names.clone(), choices: pick.choices.clone() });
        found.push(Pick { names: pick.names.clone(), choices: all.choices.clone() });
        for op in 0..pick.names.len() {
            if !pick.names[op] {
                let mut wanted = pick.names.clone();
                wanted[op] = true;
                let names = names::closure(&self.needs, wanted);
                found.push(Pick { names, choices: pick.choices.clone() });
            }
        }
        for slot in 0..pick.choices.len() {
            if pick.choices[slot] != all.choices[slot] {
                let mut plainer = pick.clone();
                plainer.choices[slot] = all.choices[slot];
                found.push(plainer);
            }
        }
        found.retain(|other| other != pick && self.distance(other) < self.distance(pick));
        found
    }

    /// How far a pick is from keeping all.
    fn distance(&self, pick: &Pick) -> usize {
        let all = self.all();
        let differ = |(one, two): (&u16, &u16)| one != two;
        pick.names.iter().filter(|kept| !**kept).count()
            + pick.choices.iter().zip(&all.choices).filter(|pair| differ(*pair)).count()
    }

    /// What a pick leaves out, in words.
    pub(super) fn describe(&self, pick: &Pick) -> Vec<String> {
        let mut lines = Vec::new();
        let lost = pick.names.iter().enumerate().filter(|(_, kept)| !**kept);
        for (index, _) in lost {
            if let Some(op) = self.state.names.get(index) {
                lines.push(format!("lost: {}", name_change(&op.change)));
            }
        }
        for file in &self.files {
            let value = |index: usize| pick.choices.get(file.first + index).copied().unwrap_or(0);
            let path = self.path_of(file.ino);
            if value(0) + 1 != file.radix(0) {
                let size = file.sizes.get(usize::from(value(0))).copied().unwrap_or(0);
                lines.push(format!("{path}: size {size}, not {}", file.file.len));
            }
            if value(1) + 1 != file.radix(1) {
                lines.push(format!("{path}: mode, owner or attributes of before"));
            }
            for (index, unit) in file.units.iter().enumerate() {
                let chosen = value(index + 2);
                if chosen + 1 != file.radix(index + 2) {
                    let len = unit.mask.count_ones() as usize * SECTOR;
                    let of = file.radix(index + 2) - 1;
                    let start = unit.start();
                    lines.push(format!(
                        "{path}: {len} bytes at {start} in version {chosen} of {of}"
                    ));
                }
            }
        }
        lines
    }

    fn path_of(&self, wanted: Ino) -> String {
        for (_, inode) in self.state.numbers() {
            if let Node::Dir(dir) = &inode.node {
                let mut entries = dir.entries.iter().chain(dir.base.iter());
                if let Some((name, _)) = entries.find(|(_, ino)| **ino == wanted) {
                    return name.to_string_lossy().into_owned();
                }
            }
        }
        format!("inode {wanted}")
    }

    fn tree(&mut self, names: &[bool]) -> Arc<State> {
        if let Some((last, tree)) = &self.last
            && last == names
        {
            return Arc::clone(tree);
        }
        let tree = Arc::new(self.state.durable_tree(names));
        self.last = Some((names.to_vec(), Arc::clone(&tree)));
        tree
    }

    /// The disk as `pick` leaves it.
    pub(super) fn build(&mut self, pick: &Pick) -> State {
        let pick = self.fit(pick);
        let tree = self.tree(&pick.names);
        let mut state = State::clone(&tree);
        for file in &self.files {
            if tree.inode(file.ino).is_some() {
                let content = self.content(file, &pick.choices[file.first..]);
                let inode = Inode::new(Node::File(Box::new(content)));
                state.put(file.ino, Some(Arc::new(inode)));
            }
        }
        state
    }

    fn content(&self, choices: &FileChoices<'_>, values: &[u16]) -> FileNode {
        let pend = choices.pend;
        let len = choices.sizes.get(usize::from(values[0])).copied().unwrap_or(pend.len);
        let meta = match usize::from(values[1]).checked_sub(1).and_then(|i| pend.metas.get(i)) {
            Some((_, meta)) => meta.clone(),
            None => pend.meta.clone(),
        };
        let mut pages = pend.pages.clone();
        pages.resize((len as usize).div_ceil(PAGE), None);
        for (unit, value) in choices.units.iter().zip(&values[2..]) {
            if unit.start() >= len {
                continue;
            }
            let version = usize::from(*value)
                .checked_sub(1)
                .and_then(|index| unit.versions.get(index))
                .and_then(|index| pend.history.get(&unit.page)?.versions.get(*index));
            match version {
                Some(version) => settle(&mut pages, unit.page, unit.mask, &version.page),
                None if self.model.unwritten == Unwritten::Garbage => {
                    self.garbage(&mut pages, unit, pend.len as usize);
                }
                None => {}
            }
        }
        pages.truncate((len as usize).div_ceil(PAGE));
        trim_tail(&mut pages, len as usize);
        FileNode { len, pages, meta, pend: None, errors: 0, unseen: false }
    }

    /// What was never written and never part of the file holds what stood there before.
    fn garbage(&self, pages: &mut Vec<Slot>, unit: &Unit, base_len: usize) {
        let mut rng = Rng::new(self.seed ^ unit.start());
        let mut noise: Slot = None;
        rng.fill(page::edit(&mut noise));
        for sector in (0..SECTORS).filter(|sector| unit.mask & (1 << sector) != 0) {
            let start = unit.page * PAGE + sector * SECTOR;
            if start >= base_len {
                settle(pages, unit.page, 1 << sector, &noise);
            } else if start + SECTOR > base_len
                && let Some(slot) = pages.get_mut(unit.page)
            {
                let range = base_len % PAGE..sector * SECTOR + SECTOR;
                page::edit(slot)[range.clone()].copy_from_slice(&page::bytes(&noise)[range]);
            }
        }
    }
}

fn name_change(change: &names::Change) -> String {
    match change {
        names::Change::Set { name, .. } => format!("new name {}", name.display()),
        names::Change::Clear { name, .. } => format!("removal of name {}", name.display()),
        names::Change::Rename { from, to, .. } => {
            format!("rename of {} to {}", from.display(), to.display())
        }
    }
}

/// The sizes that were reached, the durable one first, the visible one last.
fn sizes(file: &FileNode, pend: &Pend, unit: u64) -> Vec<u64> {
    let mut sizes = vec![pend.len];
    for step in &pend.sizes {
        if step.by_write {
            let inner = (step.from / unit + 1..=step.to.saturating_sub(1) / unit)
                .map(|index| index * unit)
                .collect();
            sizes.extend(thin(inner, 12));
        }
        sizes.push(step.to);
    }
    let last = file.len;
    let mut seen = HashSet::new();
    sizes.retain(|size| seen.insert(*size));
    if sizes.len() > 1 || sizes.first() != Some(&last) {
        let keep_first = sizes.first().copied();
        sizes.retain(|size| *size != last);
        if keep_first == Some(last) {
            sizes.insert(0, last);
        }
        sizes.push(last);
    }
    sizes
}

fn units(pend: &Pend, whole_pages: bool) -> Vec<Unit> {
    let mut units = Vec::new();
    for (page, history) in &pend.history {
        let masks: Vec<u8> =
            if whole_pages { vec![0xff] } else { (0..SECTORS).map(|s| 1 << s).collect() };
        for mask in masks {
            let versions: Vec<usize> = history
                .versions
                .iter()
                .enumerate()
                .filter(|(_, version)| version.mask & mask != 0)
                .map(|(index, _)| index)
                .collect();
            if !versions.is_empty() {
                units.push(Unit { page: *page, mask, versions });
            }
        }
    }
    units
}

/// All contents of one file: for each size and metadata the versions of the units below that size.
fn every_content(file: &FileChoices<'_>, limit: usize) -> Option<Vec<Vec<u16>>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (index, size) in file.sizes.iter().enumerate().filter(|(_, size)| seen.insert(**size)) {
        let index = u16::try_from(index).ok()?;
        let mut partial: Vec<Vec<u16>> = (0..file.radix(1)).map(|meta| vec![index, meta]).collect();
        for (at, unit) in file.units.iter().enumerate() {
            let radix = if unit.start() < *size { file.radix(at + 2) } else { 1 };
            if partial.len() * usize::from(radix) > limit {
                return None;
            }
            let extend = |choices: &Vec<u16>, value: u16| {
                let mut choices = choices.clone();
                choices.push(value);
                choices
            };
            partial = partial
                .iter()
                .flat_map(|choices| (0..radix).map(move |value| extend(choices, value)))
                .collect();
        }
        found.append(&mut partial);
        if found.len() > limit {
            return None;
        }
    }
    Some(found)
}

/// At most about `count` of them, ends and an even spread between.
pub(super) fn thin<T>(items: Vec<T>, count: usize) -> Vec<T> {
    let len = items.len();
    if len <= count || count < 4 {
        return items;
    }
    let keep = |index: usize| {
        index < 2 || index + 2 >= len || (index * count) / len != ((index - 1) * count) / len
    };
    items.into_iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, item)| item).collect()
}

impl Pick {
    /// A pick of a disk that has nothing pending.
    pub const fn nothing() -> Self {
        Self { names: Vec::new(), choices: Vec::new() }
    }
}

fn runs<T: PartialEq + fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    values: impl IntoIterator<Item = T>,
) -> fmt::Result {
    let mut values = values.into_iter().peekable();
    let mut first = true;
    while let Some(value) = values.next() {
        let mut count = 1;
        while values.next_if_eq(&value).is_some() {
            count += 1;
        }
        if !first {
            f.write_str(".")?;
        }
        first = false;
        if count > 1 { write!(f, "{value}x{count}")? } else { write!(f, "{value}")? }
    }
    Ok(())
}

/// `n` and the name changes that are kept (1) or lost (0), `u` and the version of each unit; `1x5` is five times 1.
impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("n")?;
        runs(f, self.names.iter().map(|kept| u8::from(*kept)))?;
        f.write_str("u")?;
        runs(f, &self.choices)
    }
}

/// The string is not a pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePickError(());

impl fmt::Display for ParsePickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a pick: it looks like n1x3.0u2.0x4")
    }
}

impl std::error::Error for ParsePickError {}

fn parse_runs(text: &str) -> Option<Vec<u16>> {
    let mut values = Vec::new();
    for run in text.split('.').filter(|run| !run.is_empty()) {
        let (value, count) = run.split_once('x').unwrap_or((run, "1"));
        let count: u16 = count.parse().ok()?;
        let value: u16 = value.parse().ok()?;
        values.resize(values.len() + usize::from(count), value);
    }
    Some(values)
}

impl FromStr for Pick {
    type Err = ParsePickError;

    fn from_str(text: &str) -> Result<Self, ParsePickError> {
        let parse = || {
            let (names, choices) = text.strip_prefix('n')?.split_once('u')?;
            let names = parse_runs(names)?.into_iter().map(|kept| kept != 0).collect();
            Some(Self { names, choices: parse_runs(choices)? })
        };
        parse().ok_or(ParsePickError(()))
    }
}
