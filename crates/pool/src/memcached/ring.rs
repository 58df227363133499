use xxhash_rust::xxh3::xxh3_64;

/// Points that each server has on the ring: with so many, shares differ by a few percent.
const POINTS: u64 = 160;

/// Which server has which key, so that few keys move when a server comes or goes.
///
/// Each server has many points on a ring of hashes; a key belongs to the first point that is not before its own hash. Two
/// replicas that are told the same servers, in any order, agree.
///
/// Source: libketama, with a faster hash.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Hash and index of the server, ordered.
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// The ring of these servers, told by their names. There must be at least one.
    pub(crate) fn new<S: AsRef<str>>(servers: &[S]) -> Self {
        let of_server = |(index, server): (usize, &S)| {
            let name = server.as_ref().to_owned();
            (0..POINTS).map(move |point| (xxh3_64(format!("{name}-{point}").as_bytes()), index))
        };
        let mut points: Vec<_> = servers.iter().enumerate().flat_map(of_server).collect();
        points.sort_unstable();
        Self { points }
    }

    /// Index of the server that has this key.
    pub(crate) fn server(&self, key: &[u8]) -> usize {
        let hash = xxh3_64(key);
        let at = self.points.partition_point(|(point, _)| *point < hash);
        let (_, server) = self.points[if at == self.points.len() { 0 } else { at }];
        server
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: usize = 4000;

    fn keys() -> impl Iterator<Item = Vec<u8>> {
        (0..KEYS).map(|key| format!("adulis:{key:x}").into_bytes())
    }

    fn names(count: usize, seed: u32) -> Vec<String> {
        (0..count).map(|server| format!("cache-{seed}-{server}.example:11211")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_server_that_goes_takes_its_own_keys_along_and_no_others(
            count in 2..12_usize,
            gone in 0..12_usize,
            seed in any::<u32>(),
        ) {
            let (all, gone) = (names(count, seed), gone % count);
            let left: Vec<String> = all.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, name)| name.clone()).collect();
            let (before, after) = (Ring::new(&all), Ring::new(&left));
            let mut moved = 0;
            for key in keys() {
                let (was, is) = (&all[before.server(&key)], &left[after.server(&key)]);
                prop_assert!(was == is || *was == all[gone]);
                moved += usize::from(was != is);
            }
            let fair = KEYS / count;
            prop_assert!((fair / 2..=fair * 2).contains(&moved), "{moved} of {KEYS} keys moved, {count} servers");
        }

        #[test]
        fn the_order_of_the_servers_does_not_matter(count in 1..8_usize, seed in any::<u32>()) {
            let all = names(count, seed);
            let reversed: Vec<String> = all.iter().rev().cloned().collect();
            let (one, other) = (Ring::new(&all), Ring::new(&reversed));
            for key in keys().take(200) {
                prop_assert_eq!(&all[one.server(&key)], &reversed[other.server(&key)]);
            }
        }
    }
}
