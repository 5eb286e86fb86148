//! Torn or damaged: what is made of the first place of a PGSS file where no good record stands. No I/O.
//!
//! The format has no frame around its lengths and is never synced by its writer, so that this is as much as can be told:
//!
//! | rest of the file is zero | a later record verifies | what stands there | verdict |
//! |---|---|---|---|
//! | - | - | verifies, and is no record | damaged |
//! | yes | - | anything else | torn |
//! | no | yes | anything else | damaged |
//! | no | no | runs past the end | torn |
//! | no | no | does not verify, fewer than 6 bytes behind it | torn |
//! | no | no | does not verify, 6 bytes or more behind it | damaged |
//! | no | no | begins like no record | torn |
//!
//! Zeros up to the end of the file do not count as bytes behind a record.

/// The shortest record: that of an empty cursor.
pub(super) const SHORTEST: u64 = 6;

/// What stands where a record should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It runs past the end of the file.
    Short,
    /// Its checksum is another one.
    Sum {
        /// How many bytes follow it, 0 if they are all zero.
        behind: u64,
    },
    /// No record begins like this.
    Junk(&'static str),
    /// Its checksum is right, and still it is no record: no torn write looks like this.
    Nonsense(&'static str),
}

impl Flaw {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Short => "a record runs past the end of the file",
            Self::Sum { .. } => "a record does not verify",
            Self::Junk(why) | Self::Nonsense(why) => why,
        }
    }
}

/// What is known of the flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) flaw: Flaw,
    pub(super) rest_is_zero: bool,
    /// A record verifies somewhere behind it; also set if looking for one took too long.
    pub(super) later_record: bool,
}

impl Facts {
    pub(super) const fn is_torn(self) -> bool {
        match (self.flaw, self.rest_is_zero, self.later_record) {
            (Flaw::Nonsense(_), _, _) => false,
            (_, true, _) => true,
            (_, _, true) => false,
            (Flaw::Sum { behind }, ..) => behind < SHORTEST,
            (Flaw::Short | Flaw::Junk(_), ..) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let flaws = [
            (Flaw::Nonsense(""), [false; 4]),
            (Flaw::Short, [true, false, true, true]),
            (Flaw::Sum { behind: 0 }, [true, false, true, true]),
            (Flaw::Sum { behind: 5 }, [true, false, true, true]),
            (Flaw::Sum { behind: 6 }, [false, false, true, true]),
            (Flaw::Junk(""), [true, false, true, true]),
        ];
        for (flaw, torn) in flaws {
            let all = [(false, false), (false, true), (true, false), (true, true)];
            for ((rest_is_zero, later_record), torn) in all.into_iter().zip(torn) {
                let facts = Facts { flaw, rest_is_zero, later_record };
                assert_eq!(facts.is_torn(), torn, "{facts:?}");
            }
        }
    }
}
