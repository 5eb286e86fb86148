//! What a log counts of itself.

/// Counts by powers of two: bucket `n` has the values from `2^(n-1)` up to, not including, `2^n`; bucket 0 the zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hist {
    buckets: [u64; 65],
}

impl Default for Hist {
    fn default() -> Self {
        Self { buckets: [0; 65] }
    }
}

impl Hist {
    pub(super) fn add(&mut self, value: u64) {
        let bucket = 64_u32.saturating_sub(value.leading_zeros()) as usize;
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A value that `percent` of all do not exceed, rounded up to a power of two; 0 if nothing was counted.
    pub fn percentile(&self, percent: u8) -> u64 {
        let wanted = self.count().saturating_mul(u64::from(percent.min(100))).div_ceil(100);
        let mut seen = 0_u64;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= wanted.max(1) {
                let bucket = u32::try_from(bucket).unwrap_or(64);
                return if bucket == 0 { 0 } else { 1_u64.checked_shl(bucket).unwrap_or(u64::MAX) };
            }
        }
        0
    }
}

/// What a log did since it was opened, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Records appended.
    pub appends: u64,
    /// Frames written, each one write.
    pub frames: u64,
    /// Syncs of frames that returned Ok.
    pub syncs: u64,
    /// Syncs of frames that failed; after one the log is poisoned.
    pub sync_errors: u64,
    /// Bytes written in frames.
    pub bytes: u64,
    /// The last record that a sync covers.
    pub durable_seq: u64,
    /// The last record that is written.
    pub written_seq: u64,
    /// Bytes that wait to be written.
    pub pending_bytes: u64,
    /// How many records each sync made durable.
    pub records_per_sync: Hist,
    /// How long syncs took, in microseconds.
    pub sync_micros: Hist,
    /// Whether a write or sync failed: everything but reading fails then.
    pub poisoned: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_rounded_up_to_powers_of_two() {
        let mut hist = Hist::default();
        assert_eq!(hist.percentile(50), 0);
        for value in [0, 1, 3, 100] {
            hist.add(value);
        }
        assert_eq!(hist.percentile(25), 0);
        assert_eq!(hist.percentile(50), 2);
        assert_eq!(hist.percentile(75), 4);
        assert_eq!(hist.percentile(100), 128);
    }
}
