//! How long a refusal takes tells nothing of how near a key came. That is measured where nothing else takes time: in memory, and
//! with a key so long that comparing it byte by byte to the first that differs would be seen.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_telemetry::AuthMetrics;
use adulis_testing::TestHeaders;
use adulis_types::{
    AccessControl, Identification, Identity, IdentityKind, Operation, Presented, Scopes, Wire,
};

use crate::{
    ApiGroup, AuthOptions, Authenticator, ConfiguredKey, KeyDigest, RestrictedAccess, RestrictedApi,
};

/// Nearly as long as what is looked at at all.
const KEY_BYTES: usize = 8 * 1024;
/// Checks of each kind, in turns.
const ROUNDS: usize = 300;
/// A machine may have something else to do.
const ATTEMPTS: usize = 8;

/// The key but for the byte at this place.
fn wrong_at(place: usize) -> String {
    let mut bytes = vec![b'k'; KEY_BYTES];
    bytes[place] = b'x';
    String::from_utf8(bytes).unwrap()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// By how much longer it takes to refuse a key that is wrong at its end than one that is wrong at its beginning.
fn ratio(refuse: &impl Fn(&str)) -> f64 {
    let keys = [wrong_at(KEY_BYTES - 1), wrong_at(0)];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..2 * ROUNDS {
        let begun = Instant::now();
        refuse(black_box(&keys[round % 2]));
        times[round % 2].push(begun.elapsed());
    }
    let [end, beginning] = times.map(median);
    end / beginning
}

fn takes_the_same_time(what: &str, refuse: impl Fn(&str)) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        seen.push(ratio(&refuse));
        if seen.last().is_some_and(|ratio| (0.8..=1.25).contains(ratio)) {
            return;
        }
    }
    panic!("{what}: a key that is wrong at its end takes this many times as long: {seen:?}");
}

#[test]
fn a_wrong_key_is_refused_in_the_same_time_wherever_it_is_wrong() {
    let digest = KeyDigest::of("k".repeat(KEY_BYTES).as_bytes());
    let key = |header: Option<&str>| ConfiguredKey {
        digest,
        header: header.map(str::to_owned),
        identity: Identity::new("ops", IdentityKind::ConfiguredKey, Scopes::NONE),
    };
    let options = AuthOptions { keys: vec![key(None), key(Some("admin-key"))], ..AuthOptions::default() };
    let authenticator = Authenticator::new(options, None, AuthMetrics::default()).unwrap();
    for header in ["x-api-key", "admin-key"] {
        let known = |key: &str| {
            let headers = [(header, key)];
            let presented =
                Presented { wire: Wire::Rest, headers: &TestHeaders(&headers), certificate: None };
            matches!(authenticator.identify(&presented), Identification::Known(Ok(_)))
        };
        assert!(known(&"k".repeat(KEY_BYTES)));
        takes_the_same_time(header, |key| assert!(!known(key)));
    }
    let api = RestrictedApi { wire: Wire::Rest, group: ApiGroup::Logging, header: "own".to_owned(), digest };
    let access = RestrictedAccess::new(vec![api], Some(Arc::new(authenticator)));
    let unlocked = |key: &str| {
        let headers = [("own", key)];
        let presented = Presented { wire: Wire::Rest, headers: &TestHeaders(&headers), certificate: None };
        access.unlocked(&presented, Operation::LogUpdate).is_ok()
    };
    assert!(unlocked(&"k".repeat(KEY_BYTES)));
    takes_the_same_time("a restricted API", |key| assert!(!unlocked(key)));
}
