use serde::Serialize;

/// The header or trailer in which a server tells what its response cache did.
pub(crate) const CACHE_FIELD: &str = "adulis-cache";

/// What a server's response cache did with a request, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheOutcome {
    /// The answer was there.
    Hit,
    /// An answer was there that is being renewed.
    Stale,
    /// The same request was being answered already.
    Coalesced,
    /// The model was asked.
    Miss,
    /// The cache was left out.
    Bypass,
}

impl CacheOutcome {
    /// Reads the field's value, whose first word is the outcome; `None` for words that are not known.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let is_word = |byte: &u8| byte.is_ascii_alphabetic();
        let end = value.iter().position(|byte| !is_word(byte)).unwrap_or(value.len());
        Some(match &value[..end] {
            b"hit" => Self::Hit,
            b"stale" => Self::Stale,
            b"coalesced" => Self::Coalesced,
            b"miss" => Self::Miss,
            b"bypass" => Self::Bypass,
            _ => return None,
        })
    }
}

/// How often a server's response cache did what. Answers that say nothing of a cache are in none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CacheReport {
    /// The answer was there.
    pub hit: u64,
    /// An answer was there that was being renewed.
    pub stale: u64,
    /// The same request was being answered already.
    pub coalesced: u64,
    /// The model was asked.
    pub miss: u64,
    /// The cache was left out.
    pub bypass: u64,
}

impl CacheReport {
    pub(crate) fn count(&mut self, outcome: CacheOutcome) {
        *match outcome {
            CacheOutcome::Hit => &mut self.hit,
            CacheOutcome::Stale => &mut self.stale,
            CacheOutcome::Coalesced => &mut self.coalesced,
            CacheOutcome::Miss => &mut self.miss,
            CacheOutcome::Bypass => &mut self.bypass,
        } += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.hit += other.hit;
        self.stale += other.stale;
        self.coalesced += other.coalesced;
        self.miss += other.miss;
        self.bypass += other.bypass;
    }

    /// Each outcome's name and count, in the order in which they are told.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 5] {
        [
            ("hit", self.hit),
            ("stale", self.stale),
            ("coalesced", self.coalesced),
            ("miss", self.miss),
            ("bypass", self.bypass),
        ]
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_outcome() {
        let mut report = CacheReport::default();
        for value in [
            "hit",
            "hit; age=3",
            "stale",
            "coalesced",
            "miss",
            "bypass",
            "hits",
            "",
            "HIT",
            "maybe",
        ] {
            if let Some(outcome) = CacheOutcome::read(value.as_bytes()) {
                report.count(outcome);
            }
        }
        report.add(&CacheReport { miss: 4, ..CacheReport::default() });
        let expected = [
            ("hit", 2),
            ("stale", 1),
            ("coalesced", 1),
            ("miss", 5),
            ("bypass", 1),
        ];
        assert_eq!((report.counts(), report.total()), (expected, 10));
    }
}
