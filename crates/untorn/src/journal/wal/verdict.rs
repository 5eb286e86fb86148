//! Torn or damaged: what is made of the first frame of an old log that does not verify. No I/O.
//!
//! The old format has no file header, no `durable_seq` and no chain, so that this is as much as can be told:
//!
//! | rest of the file is zero | a later frame verifies | frame runs past the end, or a sector of it is zero | verdict |
//! |---|---|---|---|
//! | yes | - | - | torn |
//! | no | yes | - | damaged |
//! | no | no | yes | torn |
//! | no | no | no | damaged |

/// What is known of the flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) rest_is_zero: bool,
    /// A frame with a larger sequence verifies somewhere behind it; also set if looking for one took too long.
    pub(super) later_frame: bool,
    /// The frame runs past the end of the file, or what it has of some 512-byte sector is all zero.
    pub(super) cut_or_hole: bool,
}

impl Facts {
    pub(super) const fn is_torn(self) -> bool {
        self.rest_is_zero || (!self.later_frame && self.cut_or_hole)
    }
}

#[cfg(test)]
mod tests {
    use super::Facts;

    #[test]
    fn the_table() {
        for bits in 0..8_u8 {
            let [rest_is_zero, later_frame, cut_or_hole] = [1, 2, 4].map(|bit| bits & bit != 0);
            let torn = matches!(
                (rest_is_zero, later_frame, cut_or_hole),
                (true, _, _) | (false, false, true)
            );
            assert_eq!(Facts { rest_is_zero, later_frame, cut_or_hole }.is_torn(), torn);
        }
    }
}
