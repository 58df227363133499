use std::convert::Infallible;

use adulis_cache::value::Answer;
use adulis_cache::{
    CacheSettings, Compute, Computed, Inputs, Look, ModelCache, ModelDigest, ModelPolicy, Question,
    ResponseCache, Scope,
};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{CacheStatus, Failure, StageTimings};

use super::*;

/// A model that answers how often it was asked: an answer of before is known for one.
#[derive(Default)]
struct Counting(AtomicU64);

impl Compute for Counting {
    type Error = Infallible;

    async fn run(&self, _: Inputs, _: Option<usize>) -> Result<Computed, Infallible> {
        let run = self.0.fetch_add(1, Ordering::Relaxed);
        let data = Bytes::copy_from_slice(&run.to_le_bytes());
        let outputs = vec![Tensor::new(DataType::Uint64, Shape::from([1]), data).unwrap()];
        let answer = Answer { outputs, ..Answer::default() };
        Ok(Computed { answer, timings: StageTimings::default() })
    }

    fn late(&self) -> Infallible {
        panic!("nothing has a deadline")
    }

    fn lasting(&self, error: &Infallible) -> Option<Failure> {
        match *error {}
    }

    fn recalled(&self, failure: &Failure) -> Infallible {
        panic!("nothing fails: {failure}")
    }
}

/// One of several servers that share a tier.
struct Replica {
    cache: Arc<ResponseCache>,
    model: ModelCache,
}

impl Replica {
    fn new(tier: impl SharedTier) -> Self {
        let settings =
            CacheSettings { purge_interval: Duration::from_millis(100), ..CacheSettings::default() };
        let tier = GuardedTier::new(Arc::new(tier), Duration::from_secs(2));
        let cache = ResponseCache::new(settings, Some(tier));
        let keys = (ModelDigest::new("m", 1).finish(), Scope::new("m".into(), 1));
        let outputs = vec![(DataType::Uint64, ShapePattern::new(&[1]))];
        let model = ModelCache::new(Arc::clone(&cache), keys, ModelPolicy::default(), outputs);
        Self { cache, model }
    }

    /// Which run answered, and how it was found.
    async fn ask(&self, model: &Counting, question: u8) -> (u64, CacheStatus) {
        let data = Bytes::copy_from_slice(&[question]);
        let inputs = vec![(0, Tensor::new(DataType::Uint8, Shape::from([1]), data).unwrap())];
        let question = Question { inputs: &inputs, rows: None, outputs: None, told: None };
        let found = match self.model.look_up(&question) {
            Look::Known(found) => found,
            Look::Search(search) => {
                let Ok(found) = self.model.resolve(search, (inputs, None), model, None).await;
                found
            }
            Look::Nothing => panic!("it is looked up whole"),
        };
        let run = u64::from_le_bytes(found.answer.outputs[0].data()[..].try_into().unwrap());
        (run, found.status)
    }

    fn tier(&self) -> &GuardedTier {
        self.cache.shared().unwrap()
    }

    /// Answers that this one has put into the store.
    fn written(&self) -> u64 {
        self.tier().counts().written.load(Ordering::Relaxed)
    }

    fn entries(&self) -> u64 {
        self.model.scope().read().entries
    }
}

/// Two replicas over a store that is killed and started again.
async fn obey(tiers: [impl SharedTier; 2], store: &mut BackingServer) {
    let [one, other] = tiers.map(Replica::new);
    let model = Counting::default();
    let (hit, miss) = (CacheStatus::Hit, CacheStatus::Miss);
    for replica in [&one, &other] {
        until("the store answers", async || replica.tier().marks(&[key(1)]).await.is_ok()).await;
    }
    assert_eq!(one.ask(&model, 1).await, (0, miss));
    until("it is written", async || one.written() == 1).await;
    assert_eq!(other.ask(&model, 1).await, (0, hit), "what one computed the other finds");
    assert_eq!((other.ask(&model, 1).await, other.entries()), ((0, hit), 1));
    one.cache.purge(Some("m"));
    until("the other follows", async || other.entries() == 0).await;
    until("nothing is pending", async || one.cache.purges_pending() == 0).await;
    let (run, _) = other.ask(&model, 1).await;
    assert!(run > 0, "what was purged is not given again, from memory or from the store");
    until("it is written", async || other.written() == 1).await;
    assert_eq!(one.ask(&model, 1).await, (run, hit), "what came afterwards is shared");

    // The store is gone: the purge waits, requests do not fail, and nobody takes up what it had before.
    store.kill();
    other.cache.purge(None);
    assert!(other.ask(&model, 1).await.0 > run);
    assert_eq!((other.cache.purges_pending(), one.entries()), (1, 1));
    store.restart();
    until("the first follows", async || one.entries() == 0).await;
    until("nothing is pending", async || other.cache.purges_pending() == 0).await;
    assert!(one.ask(&model, 1).await.0 > run);
}

#[tokio::test]
async fn replicas_over_redis_obey_a_purge_of_one() {
    let mut server = BackingServer::redis(&[]);
    let url = format!("redis://{}", server.address());
    obey([redis(&url), redis(&url)], &mut server).await;
}

#[tokio::test]
async fn replicas_over_memcached_obey_a_purge_of_one() {
    let mut servers = [BackingServer::memcached(&[])];
    let tiers = [memcached(&servers), memcached(&servers)];
    obey(tiers, &mut servers[0]).await;
}
