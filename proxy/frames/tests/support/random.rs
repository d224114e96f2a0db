//! Random numbers that are the same in each run.

pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = usize::try_from(self.0 >> 33).unwrap();
        number.checked_rem(limit).unwrap_or(0)
    }
}
