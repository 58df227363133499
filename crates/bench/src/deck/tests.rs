use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn deck(count: usize, law: Law) -> Deck {
    Deck::new((0..count).map(|index| Bytes::from(index.to_string())).collect(), law)
}

/// How often each request was drawn, and how many of them were repeats.
fn counts(deck: &Deck, seed: u64, draws: usize) -> (HashMap<usize, usize>, usize) {
    let mut dealers = [Dealer::new(seed, 0), Dealer::new(seed, 1)];
    let (mut counts, mut repeats) = (HashMap::new(), 0);
    for draw in 0..draws {
        let drawn = dealers[draw % 2].next(deck);
        let index: usize = std::str::from_utf8(drawn.request).unwrap().parse().unwrap();
        let count: &mut usize = counts.entry(index).or_default();
        assert_eq!(drawn.is_repeat, *count > 0, "a repeat is what came before");
        *count += 1;
        repeats += usize::from(drawn.is_repeat);
    }
    (counts, repeats)
}

#[test]
fn in_turn_each_dealer_takes_one_after_the_other_from_its_own_on() {
    let deck = deck(3, Law::InTurn);
    let mut dealer = Dealer::new(1, 4);
    let drawn: Vec<_> = (0..5).map(|_| dealer.next(&deck).request.clone()).collect();
    assert_eq!(drawn, ["1", "2", "0", "1", "2"]);
}

#[test]
fn the_same_seed_draws_the_same_and_another_does_not() {
    for law in [Law::Zipf(1.0), Law::Repeat(0.5)] {
        let of = |seed, number| {
            let (deck, mut dealer) = (deck(1000, law), Dealer::new(seed, number));
            (0..100).map(|_| dealer.next(&deck).request.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 0), of(1, 0), "{law:?}");
        assert_ne!(of(1, 0), of(2, 0), "{law:?}");
        assert_ne!(of(1, 0), of(1, 1), "{law:?}");
    }
}

#[test]
fn when_there_are_no_new_ones_left_all_are_repeats() {
    let (counts, repeats) = counts(&deck(10, Law::Repeat(0.0)), 1, 25);
    assert_eq!((counts.len(), repeats), (10, 15));
    assert_eq!(counts[&0], 3, "from the first on again");
}

/// Whether a count of successes is within six standard deviations of what is expected, and a few more for rare ones.
fn is_near(count: usize, draws: usize, chance: f64) -> bool {
    let expected = draws as f64 * chance;
    let deviation = (expected * (1.0 - chance)).sqrt();
    (count as f64 - expected).abs() <= 6.0 * deviation + 5.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ranks_are_drawn_by_zipfs_law(count in 1..400_usize, exponent in 0.0..2.5_f64, seed in any::<u64>()) {
        const DRAWS: usize = 40_000;
        let (counts, repeats) = counts(&deck(count, Law::Zipf(exponent)), seed, DRAWS);
        let sum: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
        for index in 0..count {
            let chance = ((index + 1) as f64).powf(-exponent) / sum;
            let drawn = counts.get(&index).copied().unwrap_or(0);
            prop_assert!(is_near(drawn, DRAWS, chance), "rank {}: {drawn} of {DRAWS}, chance {chance}", index + 1);
        }
        prop_assert_eq!(repeats, DRAWS - counts.len());
    }

    #[test]
    fn repeats_come_as_often_as_asked_and_from_all_before(ratio in 0.0..1.0_f64, seed in any::<u64>()) {
        const DRAWS: usize = 20_000;
        let deck = deck(DRAWS, Law::Repeat(ratio));
        let (counts, repeats) = counts(&deck, seed, DRAWS);
        prop_assert!(is_near(repeats, DRAWS, ratio), "{repeats} of {DRAWS}, asked for {ratio}");
        prop_assert!((0..counts.len()).all(|index| counts.contains_key(&index)), "new ones come in order");
    }

    #[test]
    fn the_alias_method_keeps_every_weight(weights in prop::collection::vec(0.0..10.0_f64, 1..50)) {
        prop_assume!(weights.iter().sum::<f64>() > 0.1);
        let alias = Alias::new(&weights);
        let mut shares = vec![0.0; weights.len()];
        for (index, (chance, other)) in alias.columns.iter().enumerate() {
            let chance = chance.clamp(0.0, 1.0);
            shares[index] += chance;
            shares[*other as usize] += 1.0 - chance;
        }
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        for (share, weight) in shares.iter().zip(&weights) {
            prop_assert!((share - weight / mean).abs() < 1e-9, "{share} for {weight}");
        }
    }
}
