//! What a path of a pool should hold: the writer's steps follow from the seed and from what there is, so that who knows where he
//! stopped knows every object of every set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::codec::Raw;
use untorn::pool::{
    BackingStore, DirOptions, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool,
    SetPath as _, TrackedPath,
};
use untorn::{Error, ErrorKind};
use uuid::Uuid;

use super::content::{self, Key, Rng};

/// Small, so that segments change often and objects often have files of their own.
const SEGMENT: u64 = 256 << 10;
const SEGMENT_MAX: u64 = 16 << 10;
/// So little that most values are spilled.
const BUDGET: usize = 3 << 20;
/// Above it more goes than comes.
const MANY: usize = 80;
const SETS: [&str; 3] = ["map", "tiles", "poses"];

/// A pool that is open, with its path.
pub(super) struct Open {
    pub(super) store: Arc<BackingStore<DirStore>>,
    pub(super) pool: Arc<Pool<Vec<u8>>>,
    pub(super) path: TrackedPath<DirPath>,
}

pub(super) fn scratch(work: &Path) -> PathBuf {
    work.join("pool").join("scratch")
}

pub(super) fn state(work: &Path) -> PathBuf {
    work.join("pool").join("state")
}

fn path_options() -> DirPathOptions {
    DirPathOptions::new().segment_bytes(SEGMENT).segment_max(SEGMENT_MAX)
}

/// What both owners open the pool with.
pub(super) fn open(work: &Path) -> Result<Open, Error> {
    let options = DirOptions::new().segment_bytes(SEGMENT).segment_max(SEGMENT_MAX);
    let store = Arc::new(BackingStore::open(DirStore::with(scratch(work), &options)?));
    let options = Pool::options().budget(MemoryBudget::bytes(BUDGET)).weigh(Vec::len);
    let pool = Arc::new(options.build(&store, Raw)?);
    let path = store.blocking_track_path(DirPath::with(state(work), path_options()))?;
    Ok(Open { store, pool, path })
}

/// The path as somebody sees it who does not own it.
pub(super) fn look(work: &Path) -> Result<DirPath, Error> {
    let path = DirPath::read_only_with(state(work), path_options());
    path.track()?;
    Ok(path)
}

/// Which checkpoint made a set: its round and its number.
type Made = (u32, u64);

/// What there is after a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    loose: BTreeSet<Key>,
    sets: BTreeMap<String, (Vec<Key>, Made)>,
}

/// One commit.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// What comes to the loose set, what gets another value and with it another key, and what goes from it.
    Sync {
        add: Vec<Key>,
        change: Vec<(Key, Key)>,
        delete: Vec<Key>,
    },
    /// All of it is named; some of it is new.
    Checkpoint {
        name: &'static str,
        add: Vec<Key>,
        keys: Vec<Key>,
    },
    DropSet(String),
}

impl Model {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.loose.is_empty() && self.sets.is_empty()
    }

    pub(super) fn all(&self) -> BTreeSet<Key> {
        let named = self.sets.values().flat_map(|(keys, _)| keys);
        self.loose.iter().chain(named).copied().collect()
    }

    /// The step of this number in this round.
    pub(super) fn step(&self, seed: u64, round: u32, counter: u64) -> Step {
        let mix = seed ^ (u64::from(round) << 40) ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = Rng::new(mix);
        let all = self.all();
        let new = |count: u64| -> Vec<Key> {
            let parts = u32::try_from(count).unwrap_or(0);
            (0..parts).map(|part| Key { round, writer: 0, counter, part, parts }).collect()
        };
        let mut some = |from: &BTreeSet<Key>, of: u64| -> Vec<Key> {
            from.iter().filter(|_| rng.below(of) == 0).copied().collect()
        };
        let (halved, few, named) = (some(&self.loose, 2), some(&self.loose, 12), some(&all, 3));
        let (choice, name, count) = (rng.below(16), rng.below(3), rng.below(6));
        let largest = self.sets.iter().max_by_key(|(_, (keys, _))| keys.len());
        let sync = |add, change, delete| Step::Sync { add, change, delete };
        if all.len() > MANY {
            return match largest {
                Some((name, _)) if choice < 8 || halved.is_empty() => Step::DropSet(name.clone()),
                _ => sync(new(1), Vec::new(), halved),
            };
        }
        match (choice, largest) {
            (0..3, _) => sync(new(count), Vec::new(), few),
            (3..6, _) => {
                let change = few.iter().copied().zip(new(few.len() as u64)).collect();
                sync(Vec::new(), change, Vec::new())
            }
            (6..10, _) => {
                let add = new(count / 2);
                let mut keys = [named, add.clone()].concat();
                // A set has an order of its own.
                let by = usize::try_from(count).unwrap_or(0).min(keys.len());
                keys.rotate_left(by);
                let name = usize::try_from(name).ok().and_then(|at| SETS.get(at));
                Step::Checkpoint { name: name.copied().unwrap_or("map"), add, keys }
            }
            (10, Some((name, _))) => Step::DropSet(name.clone()),
            _ => sync(new(1 + count), Vec::new(), Vec::new()),
        }
    }

    pub(super) fn apply(&mut self, step: &Step, made: Made) {
        match step {
            Step::Sync { add, change, delete } => {
                for key in delete.iter().chain(change.iter().map(|(old, _)| old)) {
                    self.loose.remove(key);
                }
                self.loose.extend(add);
                self.loose.extend(change.iter().map(|(_, new)| new));
            }
            Step::Checkpoint { name, keys, .. } => {
                self.sets.insert((*name).to_owned(), (keys.clone(), made));
            }
            Step::DropSet(name) => drop(self.sets.remove(name)),
        }
    }

    /// The first difference, in words, if this should be what the other one is.
    pub(super) fn differs(&self, from: &Self) -> Option<Difference> {
        for name in self.sets.keys().chain(from.sets.keys()) {
            let (is, should) = (self.sets.get(name), from.sets.get(name));
            if is != should {
                let short = |set: Option<&(Vec<Key>, Made)>| {
                    set.map(|(keys, made)| format!("of checkpoint {made:?}, {} keys", keys.len()))
                };
                let text = format!("set {name} is {:?}, not {:?}", short(is), short(should));
                let torn = is.is_some() && should.is_some();
                return Some(if torn { Difference::Torn(text) } else { Difference::Lost(text) });
            }
        }
        if let Some(key) = from.loose.difference(&self.loose).next() {
            return Some(Difference::Lost(format!("{key:?} is not in the loose set")));
        }
        let more = self.loose.difference(&from.loose).next()?;
        Some(Difference::More(format!(
            "{more:?} is in the loose set, and was deleted or never there"
        )))
    }
}

/// How what there is differs from what should be.
#[derive(Debug)]
pub(super) enum Difference {
    Lost(String),
    /// A set is another one than it should be.
    Torn(String),
    More(String),
}

/// The keys that objects have in the path.
pub(super) type Names = BTreeMap<Key, Uuid>;

/// Reads a path through: every object must be whole, and be in a set. The inner error is what is wrong.
pub(super) fn read(seed: u64, path: &DirPath) -> Result<Result<(Model, Names), String>, Error> {
    let (mut model, mut names, mut known) = (Model::default(), Names::new(), BTreeMap::new());
    for (uuid, info) in path.objects() {
        let bytes = match path.read(uuid) {
            Ok((_, bytes)) => bytes,
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => {
                return Ok(Err(format!("object {uuid}: {e}")));
            }
            Err(e) => return Err(e),
        };
        let key = match content::verify(seed, &bytes, content::file) {
            Ok(key) => key,
            Err(why) => return Ok(Err(format!("object {uuid}: {why}"))),
        };
        if info.loose {
            model.loose.insert(key);
        }
        known.insert(uuid, key);
        if names.insert(key, uuid).is_some() {
            return Ok(Err(format!("{key:?} is there under two keys")));
        }
    }
    for info in path.sets() {
        let set = path.read_set(&info.name)?.unwrap_or_default();
        let keys: Option<Vec<Key>> = set.keys.iter().map(|uuid| known.get(uuid).copied()).collect();
        let Some((keys, made)) = keys.zip(made_of(&set.meta)) else {
            return Ok(Err(format!("set {} names what is not there", info.name)));
        };
        model.sets.insert(info.name, (keys, made));
    }
    let listed = model.all();
    if let Some(key) = names.keys().find(|key| !listed.contains(key)) {
        return Ok(Err(format!("{key:?} is there, and in no set")));
    }
    Ok(Ok((model, names)))
}

fn made_of(meta: &[u8]) -> Option<Made> {
    let (round, counter) = meta.split_first_chunk()?;
    Some((u32::from_le_bytes(*round), u64::from_le_bytes(counter.try_into().ok()?)))
}

/// Makes the step one commit.
pub(super) fn perform(
    open: &Open,
    step: &Step,
    names: &mut Names,
    seed: u64,
    made: Made,
) -> Result<(), Error> {
    let Open { store, pool, path } = open;
    let insert = |key: Key, names: &mut Names| {
        let object = pool.blocking_insert(content::file(seed, key)).map_err(Error::from)?;
        object.blocking_persist(path)?;
        names.insert(key, object.key());
        Ok::<Fb<_>, Error>(object)
    };
    match step {
        Step::Sync { add, change, delete } => {
            // Held until they are committed: some go to the path from memory, some from the spill.
            let mut held = Vec::new();
            for key in add {
                held.push(insert(*key, names)?);
            }
            for (old, new) in change {
                let uuid = uuid_of(names, *old)?;
                let mut object = pool.blocking_register(path, uuid)?.ok_or_else(|| lacks(*old))?;
                *object.blocking_load_mut()? = content::file(seed, *new);
                object.blocking_persist(path)?;
                names.insert(*new, object.key());
                store.blocking_delete_persisted(path, uuid)?;
                held.push(object);
            }
            for key in delete {
                store.blocking_delete_persisted(path, uuid_of(names, *key)?)?;
            }
            store.blocking_sync(path)
        }
        Step::Checkpoint { name, add, keys } => {
            for key in add {
                insert(*key, names)?;
            }
            let keys =
                keys.iter().map(|key| uuid_of(names, *key)).collect::<Result<Vec<_>, _>>()?;
            let meta = [&made.0.to_le_bytes()[..], &made.1.to_le_bytes()].concat();
            path.checkpoint(name, &keys, &meta).map(drop)
        }
        Step::DropSet(name) => path.drop_set(name),
    }
}

fn uuid_of(names: &Names, key: Key) -> Result<Uuid, Error> {
    names.get(&key).copied().ok_or_else(|| lacks(key))
}

fn lacks(key: Key) -> Error {
    Error::of_caller(ErrorKind::NotFound, "change", format!("the path does not have {key:?}"))
}
