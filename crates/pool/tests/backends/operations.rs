use std::time::Duration;

use adulis_pool::{Entry, Health, KeyValuePool};
use adulis_testing::{becomes, until};
use bytes::Bytes;

pub(crate) fn entries(count: usize) -> Vec<Entry<Bytes>> {
    let entry = |index: usize| Entry {
        key: Bytes::from(format!("key-{index}")),
        value: Bytes::from(vec![u8::try_from(index % 256).unwrap(); index * 7]),
        ttl: Duration::from_secs(60),
    };
    (0..count).map(entry).collect()
}

/// Waits until every server is seen to be so.
pub(crate) async fn all_become(health: Health, pool: &impl KeyValuePool) {
    for index in 0..pool.backends().len() {
        becomes(health, || pool.backends().swap_remove(index)).await;
    }
}

/// Everything that a pool can do, on whatever stands behind it.
pub(crate) async fn every_operation_works(pool: &impl KeyValuePool) {
    all_become(Health::Up, pool).await;
    let entries = entries(1300);
    pool.set_many(&entries).await.unwrap();
    let keys: Vec<&[u8]> =
        entries.iter().rev().map(|entry| &*entry.key).chain([&b"gone"[..], b"key-1"]).collect();
    let values = pool.get_many(&keys).await.unwrap();
    let expected = entries.iter().rev().map(|entry| Some(entry.value.clone()));
    let expected: Vec<_> = expected.chain([None, Some(entries[1].value.clone())]).collect();
    assert!(values == expected, "in the order of the keys");
    assert_eq!(pool.get_many::<&[u8]>(&[]).await.unwrap(), []);
    assert_eq!(pool.delete(&["key-1", "key-2", "gone"]).await.unwrap(), 2);
    assert_eq!(pool.get_many(&["key-2"]).await.unwrap(), [None]);

    let minute = Duration::from_secs(60);
    assert!(pool.set_if_absent(b"lease", b"me", minute).await.unwrap());
    assert!(!pool.set_if_absent(b"lease", b"you", minute).await.unwrap());
    assert!(!pool.delete_if_equals(b"lease", b"you").await.unwrap());
    assert_eq!(pool.get_many(&["lease"]).await.unwrap(), [Some(Bytes::from("me"))]);
    assert!(pool.delete_if_equals(b"lease", b"me").await.unwrap());
    assert!(!pool.delete_if_equals(b"lease", b"me").await.unwrap());

    assert!(pool.set_if_absent(b"soon-gone", b"x", Duration::from_millis(30)).await.unwrap());
    until("it has expired", async || pool.get_many(&["soon-gone"]).await.unwrap() == [None]).await;
}
