//! Choosing at random, the same in every run.

/// A caller's own dice: xorshift, seeded by the caller's number, so that every
/// run of the benchmark asks for the same.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(caller: usize) -> Self {
        let caller = u64::try_from(caller).unwrap_or(u64::MAX);
        Self(0x9E37_79B9_7F4A_7C15 ^ (caller + 1).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.0 % bound).unwrap_or_default()
    }
}
