use std::time::Duration;

use adulis_pool::{Health, KeyValuePool, PoolError, PoolOptions, RedisPool};
use adulis_telemetry::MetricRegistry;
use adulis_testing::{RedisCluster, RedisSentinel, becomes, pool_options, until};
use bytes::Bytes;

use crate::operations::{entries, every_operation_works};
use crate::redis::open_with;

/// A pool with time for every part: what is late would count as missing, and these tests ask whether it is there.
fn open(cluster: &RedisCluster) -> RedisPool {
    let options = PoolOptions { timeout: Duration::from_secs(3), ..pool_options() };
    open_with(&format!("redis+cluster://{}", cluster.addresses()), &options, &MetricRegistry::default())
}

#[tokio::test]
async fn a_cluster() {
    let cluster = RedisCluster::start();
    let pool = open(&cluster);
    every_operation_works(&pool).await;
    for node in &cluster.nodes {
        let keys: u64 = node.redis_cli(&["DBSIZE"]).trim().parse().unwrap();
        assert!(keys > 200, "one of three has {keys} of 1300 keys");
    }
    for number in 0..50 {
        let key = format!("customer:{number}");
        cluster.nodes[0].redis_cli(&["-c", "HSET", &key, "age", &number.to_string()]);
    }
    let keys: Vec<String> = (0..51).map(|number| format!("customer:{number}")).collect();
    let hashes = pool.hash_get_many(&keys, &["age"]).await.unwrap();
    let expected = (0..50).map(|number| vec![Some(Bytes::from(number.to_string()))]).chain([vec![None]]);
    assert_eq!(hashes, expected.collect::<Vec<_>>());
    // What is no hash is not taken for one that is missing.
    let wrong = pool.hash_get_many(&["customer:1", "key-3"], &["age"]).await.unwrap_err();
    assert!(matches!(wrong, PoolError::WrongType { .. }), "{wrong}");
    assert_eq!(pool.status().health, Health::Up);
}

#[tokio::test]
async fn a_cluster_that_lost_a_server_gives_what_the_others_have() {
    let mut cluster = RedisCluster::start();
    let pool = open(&cluster);
    becomes(Health::Up, || pool.status()).await;
    let entries = entries(300);
    pool.set_many(&entries).await.unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| &entry.key).collect();
    let found = async || match pool.get_many(&keys).await {
        Ok(values) => values.iter().flatten().count(),
        Err(_) => 0,
    };
    assert_eq!(found().await, 300);
    cluster.nodes[2].kill();
    until("two thirds are found", async || (150..250).contains(&found().await)).await;
    cluster.nodes[2].restart();
    until("all can be set again", async || {
        let set = pool.set_many(&entries).await;
        set.is_ok() && found().await == 300
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_s_master_and_its_successor() {
    let mut redis = RedisSentinel::start();
    let at = redis.sentinel.address();
    // Of a master that has no replica any more, half would be lost: not here.
    let options = PoolOptions { connect_timeout: Duration::from_secs(3), ..pool_options() };
    let pool = open_with(&format!("redis+sentinel://{at}/mymaster"), &options, &MetricRegistry::default());
    every_operation_works(&pool).await;
    redis.master.kill();
    until("the replica is the master", async || pool.set_many(&entries(10)).await.is_ok()).await;
    let told = redis.replica.redis_cli(&["EXISTS", "key-9"]);
    assert_eq!(told.trim(), "1");
    assert_eq!(pool.status().health, Health::Up);
}
