use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::entry::{Life, Outcome};
use crate::value::Answer;

const KEY: Key = Key::from_bytes([1; 32]);

fn entry() -> Arc<Entry> {
    let life = Life { computed: Instant::now(), fresh_until: None, stale_until: None };
    Arc::new(Entry::passing(Outcome::Answer(Answer::default()), life))
}

fn lead(flights: &Arc<Flights>) -> Lead {
    match flights.join(&[KEY], 1).pop().unwrap() {
        Joined::Lead(lead) => lead,
        Joined::Follow(_) => panic!("somebody leads already"),
    }
}

fn follow(flights: &Arc<Flights>) -> oneshot::Receiver<News> {
    match flights.join(&[KEY], 1).pop().unwrap() {
        Joined::Lead(_) => panic!("nobody leads"),
        Joined::Follow(news) => news,
    }
}

#[tokio::test]
async fn one_leads_and_all_hear_of_the_landing() {
    let flights = Flights::new();
    let leader = lead(&flights);
    assert!(flights.lead(KEY).is_none());
    let followers: Vec<_> = (0..100).map(|_| follow(&flights)).collect();
    leader.land(&entry());
    for follower in followers {
        assert!(matches!(follower.await, Ok(News::Landed(_))));
    }
    assert_eq!(flights.count(), 0);
    drop(lead(&flights));
}

#[tokio::test]
async fn a_leader_that_goes_hands_on_in_order() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let [gone, first, second] = std::array::from_fn(|_| follow(&flights));
    drop(gone);
    drop(leader);
    let Ok(News::Lead(leader)) = first.await else {
        panic!("the first that still waits leads")
    };
    assert!(flights.lead(KEY).is_none());
    leader.land(&entry());
    assert!(matches!(second.await, Ok(News::Landed(_))));
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn a_lead_that_nobody_takes_up_goes_on() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let (first, second) = (follow(&flights), follow(&flights));
    drop(leader);
    // Handed to the first, which goes away without having looked.
    drop(first);
    let Ok(News::Lead(leader)) = second.await else {
        panic!("the lead is lost")
    };
    drop(leader);
    assert_eq!(flights.count(), 0, "nobody waits: the flight is over");
    drop(lead(&flights));
}

#[tokio::test]
async fn followers_that_went_are_not_collected() {
    let flights = Flights::new();
    let leader = lead(&flights);
    for _ in 0..10_000 {
        drop(follow(&flights));
    }
    let waiting = flights.flights.lock().get(&KEY).map(|flight| flight.waiting.capacity());
    assert!(waiting.is_some_and(|capacity| capacity < 64), "{waiting:?}");
    drop(leader);
}

#[tokio::test]
async fn a_panic_hands_on() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = follow(&flights);
    let panicked = tokio::spawn(async move {
        let _leader = leader;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    let news = tokio::time::timeout(Duration::from_secs(5), follower).await.unwrap();
    assert!(matches!(news, Ok(News::Lead(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_requests_that_are_the_same_one_leads_all_rows() {
    let (flights, keys) = (Flights::new(), [1, 2, 3].map(|byte| Key::from_bytes([byte; 32])));
    for _ in 0..200 {
        let joining: Vec<_> = (0..8)
            .map(|_| {
                let flights = Arc::clone(&flights);
                tokio::spawn(async move { flights.join(&keys, 0) })
            })
            .collect();
        let mut leaders = 0;
        let mut all = Vec::new();
        for joined in joining {
            let joined = joined.await.unwrap();
            let led = joined.iter().filter(|joined| matches!(joined, Joined::Lead(_))).count();
            assert!(led == 0 || led == keys.len());
            leaders += usize::from(led > 0);
            all.push(joined);
        }
        assert_eq!(leaders, 1);
    }
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn who_goes_first_waits_for_nobody_behind() {
    let flights = Flights::new();
    let (leader, follower) = (lead(&flights), follow(&flights));
    let Some(Joined::Lead(first)) = flights.join(&[KEY], 0).pop() else {
        panic!("it would be served before the leader")
    };
    assert!(first.overtakes() && !leader.overtakes());
    // Those that come now wait for whoever is the first.
    let Some(Joined::Follow(second)) = flights.join(&[KEY], 0).pop() else {
        panic!("its equal computes already")
    };
    first.land(&entry());
    for told in [follower.await, second.await] {
        assert!(matches!(told, Ok(News::Landed(_))));
    }
    assert_eq!(flights.count(), 0);
    leader.land(&entry());
    drop(lead(&flights));
}

#[tokio::test]
async fn one_that_overtakes_and_fails_leaves_the_flight_to_its_leader() {
    let flights = Flights::new();
    let (leader, follower) = (lead(&flights), follow(&flights));
    drop(flights.join(&[KEY], 0));
    assert_eq!(flights.count(), 1);
    leader.land(&entry());
    assert!(matches!(follower.await, Ok(News::Landed(_))));
}

#[tokio::test]
async fn one_that_was_overtaken_ends_nobody_elses_flight() {
    for lands in [true, false] {
        let flights = Flights::new();
        let overtaken = lead(&flights);
        let Some(Joined::Lead(first)) = flights.join(&[KEY], 0).pop() else {
            panic!("it has a lower rank")
        };
        first.land(&entry());
        // What landed is not kept: the next begins another flight.
        let (leader, mut follower) = (lead(&flights), follow(&flights));
        if lands {
            overtaken.land(&entry());
        } else {
            drop(overtaken);
        }
        assert!(follower.try_recv().is_err());
        leader.land(&entry());
        assert!(matches!(follower.await, Ok(News::Landed(_))));
        assert_eq!(flights.count(), 0);
    }
}
