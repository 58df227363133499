use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Later ones are no times: somebody's clock, or somebody's bytes. In milliseconds since 1970, some nine thousand years.
const LATEST: u64 = 1 << 48;

/// Which answers still count: those of the newest generation. A purge begins a new one.
///
/// Replicas agree on the greatest that any of them has seen. It is the time at which it began, unless one that was there before
/// is later: so it is greater than all that its replica knew, whatever the clocks say; and a number by chance, so that two that
/// began at once differ.
///
/// Source: S. Kulkarni and others, "Logical Physical Clocks", 2014.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    began: u64,
    chance: u64,
}

impl Generation {
    pub(crate) const BYTES: usize = 16;

    /// One that is greater than another.
    #[must_use]
    pub fn after(before: Option<Self>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(LATEST).min(LATEST);
        // Seeded by the system's source of randomness.
        Self::at(before, now, RandomState::new().hash_one(now))
    }

    fn at(before: Option<Self>, now: u64, chance: u64) -> Self {
        let next = before.map_or(0, |before| before.began.saturating_add(1));
        Self { began: now.max(next), chance }
    }

    /// As it lies in a shared tier.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.began.to_be_bytes());
        bytes[8..].copy_from_slice(&self.chance.to_be_bytes());
        bytes
    }

    /// `None` for what is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (began, chance) = bytes.split_at_checked(8)?;
        let began = u64::from_be_bytes(began.try_into().ok()?);
        let chance = u64::from_be_bytes(chance.try_into().ok()?);
        (began < LATEST).then_some(Self { began, chance })
    }
}

/// What one replica knows of the generation of a name. Without clock, lock or I/O.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    generation: Option<Generation>,
    /// The one that was known before it.
    before: Option<Generation>,
    /// Whether it began here and is not in the tier yet.
    is_untold: bool,
}

/// What is to be done after a look into the tier.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// What is to be put in the place of what was read, unless something else is there by now; [`Known::told`] follows when it
    /// is.
    pub(crate) write: Option<Generation>,
    /// Whether another replica has purged: what is remembered here counts no more.
    pub(crate) is_purged: bool,
}

impl Known {
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Begins a generation that the tier does not know of.
    pub(crate) fn renew(&mut self, after: impl FnOnce(Option<Generation>) -> Generation) {
        self.before = self.generation;
        self.generation = Some(after(self.generation));
        self.is_untold = true;
    }

    /// Takes up what lies in the tier. What was lost there, or has not arrived, is to be written again.
    pub(crate) fn merge(
        &mut self,
        read: Option<Generation>,
        after: impl FnOnce(Option<Generation>) -> Generation,
    ) -> Merged {
        let Some(known) = self.generation else {
            // The first is known when it is written, so that replicas that begin together do not each have their own.
            let write = if read.is_none() { Some(after(None)) } else { None };
            self.generation = read;
            // Whether there was a purge before the tier could be asked for the first time, nobody knows.
            return Merged { write, is_purged: read.is_some() };
        };
        match read {
            Some(read) if read == known => {
                self.is_untold = false;
                Merged::default()
            }
            Some(read) if Some(read) != self.before => {
                if read > known && !self.is_untold {
                    self.before = self.generation.replace(read);
                    return Merged { write: None, is_purged: true };
                }
                // Two purges that crossed each other: what was remembered between them counts no more, under either.
                self.before = Some(read);
                self.generation = Some(after(Some(read.max(known))));
                self.is_untold = true;
                Merged { write: self.generation, is_purged: true }
            }
            _ => Merged { write: Some(known), is_purged: false },
        }
    }

    /// It was written. One that began since then is still to be told.
    pub(crate) fn told(&mut self, written: Generation) {
        let generation = *self.generation.get_or_insert(written);
        self.is_untold &= generation != written;
    }

    /// Whether it is still to be told.
    pub(crate) fn is_untold(&self) -> bool {
        self.is_untold
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generations_grow_whatever_the_clock_says() {
        let first = Generation::at(None, 100, 7);
        let second = Generation::at(Some(first), 3, 1);
        assert!(second > first);
        assert_eq!(Generation::from_bytes(&second.to_bytes()), Some(second));
        assert!(Generation::after(Some(second)) > second);
        for nothing in [&[][..], &[0; 15], &[0; 17], &[0xff; 16]] {
            assert_eq!(Generation::from_bytes(nothing), None, "{nothing:?}");
        }
    }

    /// What happens to replicas that share a tier.
    #[derive(Debug, Clone)]
    enum Event {
        Purge(usize),
        /// It reads what is there, and is about to write.
        Look(usize),
        /// What it read is taken away, if that is still there.
        Delete(usize),
        /// What it was about to write arrives, if nothing is there.
        Arrive(usize),
        /// The tier loses what it has, at a time when all agree.
        Loss,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => (0_usize..3).prop_map(Event::Purge),
            5 => (0_usize..3).prop_map(Event::Look),
            4 => (0_usize..3).prop_map(Event::Delete),
            4 => (0_usize..3).prop_map(Event::Arrive),
            2 => Just(Event::Loss),
        ]
    }

    #[derive(Default)]
    struct Replica {
        known: Known,
        /// What it read and is to be replaced, and by what.
        writing: Option<(Option<Generation>, Generation)>,
        /// By how much its clock is wrong.
        clock: u64,
        /// When it last forgot what it had in memory.
        forgot: u64,
    }

    struct World {
        replicas: [Replica; 3],
        tier: Option<Generation>,
        now: u64,
        /// Every generation that a replica had when one of them purged, and when the last one did.
        gone: Vec<Generation>,
        purged: u64,
    }

    impl World {
        fn happens(&mut self, event: &Event) {
            self.now += 1;
            let now = self.now;
            match *event {
                Event::Purge(index) => {
                    self.gone.extend(self.replicas.iter().filter_map(|replica| replica.known.generation()));
                    self.purged = now;
                    let replica = &mut self.replicas[index];
                    let time = now + replica.clock;
                    replica.known.renew(|before| Generation::at(before, time, now));
                    replica.forgot = now;
                }
                Event::Look(index) => {
                    let replica = &mut self.replicas[index];
                    let time = now + replica.clock;
                    let merged = replica.known.merge(self.tier, |before| Generation::at(before, time, now));
                    if merged.is_purged {
                        replica.forgot = now;
                    }
                    replica.writing = merged.write.map(|write| (self.tier, write));
                }
                Event::Delete(index) => match &mut self.replicas[index].writing {
                    Some((read @ Some(_), _)) if *read == self.tier => (*read, self.tier) = (None, None),
                    Some((Some(_), _)) => self.replicas[index].writing = None,
                    Some((None, _)) | None => {}
                },
                Event::Arrive(index) => {
                    let replica = &mut self.replicas[index];
                    if let Some((_, written)) = replica.writing.take_if(|(read, _)| read.is_none())
                        && self.tier.is_none()
                    {
                        self.tier = Some(written);
                        replica.known.told(written);
                    }
                }
                Event::Loss if self.agrees() => self.tier = None,
                Event::Loss => {}
            }
        }

        fn agrees(&self) -> bool {
            self.replicas.iter().all(|replica| {
                replica.known.generation() == self.tier
                    && !replica.known.is_untold()
                    && replica.writing.is_none()
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Whatever the clocks say and whatever crosses: in the end all replicas have one generation, none that any of
        /// them had when one purged, and each has forgotten what it had in memory by then.
        #[test]
        fn every_purge_reaches_every_replica(
            events in prop::collection::vec(event(), 0..50),
            clocks in prop::array::uniform3(0_u64..1000),
        ) {
            let replicas = clocks.map(|clock| Replica { clock, ..Replica::default() });
            let mut world = World { replicas, tier: None, now: 0, gone: Vec::new(), purged: 0 };
            events.iter().for_each(|event| world.happens(event));
            for round in 0..5 {
                for index in 0..3 {
                    if round > 0 {
                        world.happens(&Event::Look(index));
                    }
                    world.happens(&Event::Delete(index));
                    world.happens(&Event::Arrive(index));
                }
            }
            let agreed = world.tier.unwrap();
            prop_assert!(!world.gone.contains(&agreed));
            prop_assert!(world.agrees());
            prop_assert!(world.replicas.iter().all(|replica| replica.forgot >= world.purged));
        }
    }
}
