//! Which bytes are trusted, as the records of the map say it one after the other.

use std::collections::BTreeMap;

use super::format::{Change, Extent, decode_full};
use crate::log::Piece;

/// The trusted extents, by their start. They lie within chunks and do not overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// The part that the map belongs to, once its full form was read.
    pub(super) part_id: Option<[u8; 16]>,
    extents: BTreeMap<u64, Extent>,
}

/// What a record may say: extents within one chunk, and below the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) chunk: u64,
    pub(super) end: u64,
}

impl Bounds {
    fn hold(self, extent: &Extent) -> bool {
        let last = extent.end().saturating_sub(1);
        let one_chunk = extent.start.checked_div(self.chunk) == last.checked_div(self.chunk);
        let real = extent.start.checked_add(u64::from(extent.len)) == Some(extent.end());
        extent.len > 0 && real && one_chunk && extent.end() <= self.end
    }
}

impl Trust {
    /// Takes the next piece of the map; what is wrong with it, if it is damaged.
    pub(super) fn take(&mut self, piece: Piece<'_>, bounds: Bounds) -> Result<(), &'static str> {
        match piece {
            Piece::Full(bytes) => {
                let Some((part_id, extents)) = decode_full(bytes) else {
                    return Err("a full form in the map does not decode");
                };
                *self = Self { part_id: Some(part_id), extents: BTreeMap::new() };
                self.cover(&extents, bounds)
            }
            Piece::Change(bytes) => match Change::decode(bytes) {
                Some(Change::Cover(extents)) => self.cover(&extents, bounds),
                Some(Change::Retract(extents)) => self.retract(&extents),
                None => Err("a change in the map does not decode"),
            },
        }
    }

    fn cover(&mut self, extents: &[Extent], bounds: Bounds) -> Result<(), &'static str> {
        for extent in extents {
            if !bounds.hold(extent) {
                return Err(
                    "an extent in the map is empty, crosses a chunk or lies behind the end",
                );
            }
            let before = self.extents.range(..extent.start).next_back();
            if before.is_some_and(|(_, before)| before.end() > extent.start) {
                return Err("extents in the map overlap");
            }
            let inside: Vec<Extent> =
                self.extents.range(extent.range()).map(|(_, inside)| *inside).collect();
            if inside.iter().any(|inside| inside.end() > extent.end()) {
                return Err("extents in the map overlap");
            }
            for inside in inside {
                self.extents.remove(&inside.start);
            }
            self.extents.insert(extent.start, *extent);
        }
        Ok(())
    }

    fn retract(&mut self, extents: &[Extent]) -> Result<(), &'static str> {
        for extent in extents {
            match self.extents.remove(&extent.start) {
                Some(trusted) if trusted.len == extent.len => {}
                _ => return Err("the map takes back what it does not trust"),
            }
        }
        Ok(())
    }

    /// The extents in order.
    pub(super) fn into_extents(self) -> Vec<Extent> {
        self.extents.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunked::format::encode_full;

    const BOUNDS: Bounds = Bounds { chunk: 4096, end: 10_000 };

    fn at(start: u64, len: u32) -> Extent {
        Extent { start, len, crc: len }
    }

    #[test]
    fn a_later_extent_takes_the_place_of_those_it_contains() {
        let mut trust = Trust::default();
        let full = encode_full([1; 16], &[at(0, 100), at(100, 200), at(4096, 4096)]);
        trust.take(Piece::Full(&full), BOUNDS).unwrap();
        let cover = Change::Cover(vec![at(0, 300), at(8192, 8)]).encode();
        trust.take(Piece::Change(&cover), BOUNDS).unwrap();
        let retract = Change::Retract(vec![at(4096, 4096)]).encode();
        trust.take(Piece::Change(&retract), BOUNDS).unwrap();
        assert_eq!(trust.part_id, Some([1; 16]));
        assert_eq!(trust.into_extents(), [at(0, 300), at(8192, 8)]);
    }

    #[test]
    fn what_no_owner_writes_is_damage() {
        let cover = |extents: &[Extent]| {
            let mut trust = Trust::default();
            trust.take(Piece::Full(&encode_full([1; 16], &[at(100, 200)])), BOUNDS).unwrap();
            trust.take(Piece::Change(&Change::Cover(extents.to_vec()).encode()), BOUNDS)
        };
        for (extents, fine) in [
            (vec![at(100, 300)], true),
            (vec![at(300, 1)], true),
            (vec![at(50, 51)], false),
            (vec![at(150, 10)], false),
            (vec![at(299, 2)], false),
            (vec![at(4000, 97)], false),
            (vec![at(9999, 2)], false),
            (vec![at(5000, 0)], false),
            (vec![at(u64::MAX - 2, 100)], false),
        ] {
            assert_eq!(cover(&extents).is_ok(), fine, "{extents:?}");
        }
        let mut trust = Trust::default();
        let retract = Change::Retract(vec![at(0, 1)]).encode();
        assert!(trust.take(Piece::Change(&retract), BOUNDS).is_err());
    }
}
