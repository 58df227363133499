use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_types::{BoxFuture, ErrorKind, Header, RequestHeaders, Wire};
use parking_lot::Mutex;

use super::*;
use crate::KeySourceError;

/// Keys in memory, which can be down, or never say anything of those that are not there.
#[derive(Default)]
struct Keys {
    keys: Mutex<HashMap<KeyDigest, SourceKey>>,
    looks: AtomicUsize,
    is_down: AtomicBool,
    is_mute: AtomicBool,
}

impl KeySource for Keys {
    fn is_candidate(&self, key: &str) -> bool {
        key.starts_with("adulis_")
    }

    fn find(&self, digest: KeyDigest) -> BoxFuture<'static, Result<Option<SourceKey>, KeySourceError>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let found = self.keys.lock().get(&digest).cloned();
        let is_down = self.is_down.load(Ordering::SeqCst);
        if found.is_none() && self.is_mute.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        Box::pin(async move {
            tokio::task::yield_now().await;
            if is_down { Err("the source is down".into()) } else { Ok(found) }
        })
    }
}

struct One<'a>(&'a str, &'a str);

impl RequestHeaders for One<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        if name == self.0 { Header::One(self.1.as_bytes()) } else { Header::Absent }
    }
}

struct World {
    keys: Arc<Keys>,
    authenticator: Authenticator,
    registry: MetricRegistry,
}

const TTL: Duration = Duration::from_secs(5);

fn world() -> World {
    let (keys, registry) = (Arc::new(Keys::default()), MetricRegistry::default());
    let configured = |key: &[u8], header: Option<&str>, name: &str| ConfiguredKey {
        digest: KeyDigest::of(key),
        header: header.map(str::to_owned),
        identity: Identity::new(name, IdentityKind::ConfiguredKey, Scopes::NONE.with(Scope::Infer)),
    };
    let mut old = configured(b"old-key", None, "old");
    old.identity.expires_at = Some(SystemTime::UNIX_EPOCH);
    let options = AuthOptions {
        keys: vec![
            configured(b"plain-key", None, "plain"),
            configured(b"admin", Some("admin-key"), "ops"),
            old,
        ],
        ttl: TTL,
        max_lookups: 2,
        ..AuthOptions::default()
    };
    let metrics = AuthMetrics::register(&registry);
    let authenticator = Authenticator::new(options, Some(Arc::clone(&keys) as _), metrics).unwrap();
    World { keys, authenticator, registry }
}

impl World {
    fn add(&self, key: &str, change: impl FnOnce(&mut SourceKey)) {
        let mut source = SourceKey {
            id: format!("id of {key}"),
            scopes: vec!["infer".to_owned(), "later".to_owned()],
            models: vec!["*".to_owned()],
            expires_at: None,
            is_revoked: false,
            weight: 1,
            quota: String::new(),
        };
        change(&mut source);
        self.keys.keys.lock().insert(KeyDigest::of(key.as_bytes()), source);
    }

    async fn ask(&self, header: &str, value: &str) -> Result<Arc<Identity>, (ErrorKind, String)> {
        let identification = {
            let headers = One(header, value);
            let presented = Presented { wire: Wire::Rest, headers: &headers, certificate: None };
            self.authenticator.identify(&presented)
        };
        let identified = match identification {
            Identification::Known(known) => known,
            Identification::Asked(asked) => asked.await,
        };
        identified.map_err(|fault| (fault.kind(), fault.client_message().into_owned()))
    }

    async fn key(&self, key: &str) -> Result<Arc<Identity>, (ErrorKind, String)> {
        self.ask("x-api-key", key).await
    }

    fn looks(&self) -> usize {
        self.keys.looks.load(Ordering::SeqCst)
    }

    fn metric(&self, sample: &str) -> Option<String> {
        let text = self.registry.render(MetricsFormat::Text);
        text.lines().find_map(|line| Some(line.strip_prefix(sample)?.trim().to_owned()))
    }
}

fn refused(outcome: Result<Arc<Identity>, (ErrorKind, String)>) -> &'static str {
    outcome.map_or_else(|(kind, _)| kind.as_str(), |_| "known")
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_source_are_found_remembered_and_refused() {
    let world = world();
    world.add("adulis_a", |key| key.models = vec!["team-*".to_owned()]);
    world.add("adulis_revoked", |key| key.is_revoked = true);
    world.add("adulis_expired", |key| key.expires_at = Some(SystemTime::UNIX_EPOCH));
    for header in ["x-api-key", "authorization"] {
        let value = if header == "authorization" { "Bearer adulis_a" } else { "adulis_a" };
        let identity = world.ask(header, value).await.unwrap();
        assert_eq!((identity.name.as_str(), identity.kind), ("id of adulis_a", IdentityKind::ApiKey));
        assert!(identity.may(Scope::Infer, Some("team-a")) && !identity.may(Scope::Infer, Some("a")));
        assert!(!identity.may(Scope::Repository, None));
        assert!(format!("{identity:?}").contains("Proof(********)"));
    }
    assert_eq!(world.looks(), 1, "the second time it is known");
    for key in ["adulis_revoked", "adulis_expired", "adulis_unknown"] {
        for _ in 0..3 {
            assert_eq!(refused(world.key(key).await), "unauthenticated", "{key}");
        }
    }
    assert_eq!(world.looks(), 4, "what is refused is remembered, too");
    assert_eq!(refused(world.key("no-key-at-all").await), "unauthenticated");
    assert_eq!(world.looks(), 4, "what cannot be a key is not looked up");
    for (outcome, count) in [("ok", "2"), ("revoked", "3"), ("expired", "3"), ("unknown", "4")] {
        let sample = format!("adulis_auth_requests_total{{kind=\"api_key\",outcome=\"{outcome}\"}}");
        assert_eq!(world.metric(&sample).as_deref(), Some(count), "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_key_that_has_expired_is_counted_as_that() {
    let world = world();
    let identity = world.key("old-key").await.unwrap();
    assert!(
        identity.is_expired(SystemTime::now()),
        "whoever asks for what it wants refuses it, in its name"
    );
    world.key("plain-key").await.unwrap();
    for outcome in ["ok", "expired"] {
        let sample = format!("adulis_auth_requests_total{{kind=\"configured_key\",outcome=\"{outcome}\"}}");
        assert_eq!(world.metric(&sample).as_deref(), Some("1"), "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_is_refused_within_twice_the_time() {
    let world = world();
    world.add("adulis_a", |_| {});
    let identity = world.key("adulis_a").await.unwrap();
    world.add("adulis_a", |key| key.is_revoked = true);
    tokio::time::advance(TTL).await;
    // This one has somebody look; those after it are told what was found.
    assert_eq!(refused(world.key("adulis_a").await), "known");
    while world.looks() < 2 || refused(world.key("adulis_a").await) == "known" {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.authenticator.renew(&identity).unwrap_err().kind(), ErrorKind::Unauthenticated);

    world.add("adulis_b", |_| {});
    world.key("adulis_b").await.unwrap();
    world.add("adulis_b", |key| key.is_revoked = true);
    tokio::time::advance(TTL * 2).await;
    assert_eq!(refused(world.key("adulis_b").await), "unauthenticated", "nobody has asked for long");
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_goes_on_with_is_renewed() {
    let world = world();
    world.add("adulis_a", |_| {});
    let identity = world.key("adulis_a").await.unwrap();
    world.add("adulis_a", |key| key.scopes = vec!["metadata".to_owned()]);
    assert!(Arc::ptr_eq(&world.authenticator.renew(&identity).unwrap(), &identity));
    tokio::time::advance(TTL * 3).await;
    world.authenticator.renew(&identity).unwrap();
    while !world.authenticator.renew(&identity).unwrap().may(Scope::Metadata, None) {
        tokio::task::yield_now().await;
    }
    let plain = world.key("plain-key").await.unwrap();
    assert!(Arc::ptr_eq(&world.authenticator.renew(&plain).unwrap(), &plain));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_takes_nobody_with_it_who_is_known() {
    let world = world();
    world.add("adulis_a", |_| {});
    world.add("adulis_b", |_| {});
    world.key("adulis_a").await.unwrap();
    world.keys.is_down.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(refused(world.key("adulis_a").await), "known");
    let (kind, message) = world.key("adulis_b").await.unwrap_err();
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Unavailable, "the credentials cannot be checked at the moment")
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(refused(world.key("adulis_a").await), "unavailable");
    world.keys.is_down.store(false, Ordering::SeqCst);
    assert_eq!(refused(world.key("adulis_b").await), "known");
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_no_longer_than_its_key_while_the_source_is_down() {
    let world = world();
    world.add("adulis_a", |_| {});
    let identity = world.key("adulis_a").await.unwrap();
    world.keys.is_down.store(true, Ordering::SeqCst);
    let renewed = || world.authenticator.renew(&identity).map_err(|fault| fault.kind());
    tokio::time::advance(TTL * 3).await;
    assert!(renewed().is_ok());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.looks(), 2, "somebody has looked in vain");
    tokio::time::advance(Duration::from_secs(40)).await;
    assert!(renewed().is_ok());
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(renewed().unwrap_err(), ErrorKind::Unavailable);
    world.keys.is_down.store(false, Ordering::SeqCst);
    assert!(world.key("adulis_a").await.is_ok() && renewed().is_ok());
}

/// A source whose look-ups go on when nobody waits for them, as those of a database do.
#[derive(Default)]
struct Slow(Arc<AtomicUsize>);

impl KeySource for Slow {
    fn is_candidate(&self, _: &str) -> bool {
        true
    }

    fn find(&self, _: KeyDigest) -> BoxFuture<'static, Result<Option<SourceKey>, KeySourceError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_go_away_leave_no_more_look_ups_behind_than_may_be() {
    let slow = Slow::default();
    let under_way = Arc::clone(&slow.0);
    let options = AuthOptions { max_lookups: 2, ..AuthOptions::default() };
    let authenticator = Authenticator::new(options, Some(Arc::new(slow)), AuthMetrics::default()).unwrap();
    for number in 0..10 {
        let key = format!("key-{number}");
        let headers = One("x-api-key", &key);
        let presented = Presented { wire: Wire::Rest, headers: &headers, certificate: None };
        let Identification::Asked(asking) = authenticator.identify(&presented) else {
            panic!("nobody has said who it is");
        };
        assert!(tokio::time::timeout(Duration::from_millis(10), asking).await.is_err());
    }
    assert_eq!(under_way.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_keys_up_holds_up_no_key_that_is_known() {
    let world = Arc::new(world());
    for key in ["adulis_a", "adulis_b", "adulis_c"] {
        world.add(key, |_| {});
        world.key(key).await.unwrap();
    }
    let streaming = world.key("adulis_c").await.unwrap();
    world.keys.is_mute.store(true, Ordering::SeqCst);
    for number in 0..100 {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.key(&format!("adulis_made_up_{number}")).await.is_ok() });
    }
    tokio::task::yield_now().await;
    // One that is looked at again while it is given, one of which nothing is given before, and one whose stream goes on.
    tokio::time::advance(TTL).await;
    for key in ["adulis_a", "adulis_b", "adulis_c"] {
        world.add(key, |key| key.is_revoked = true);
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(refused(world.key("adulis_a").await), "known");
    world.authenticator.renew(&streaming).unwrap();
    while refused(world.key("adulis_a").await) == "known" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.authenticator.renew(&streaming).unwrap_err().kind(), ErrorKind::Unauthenticated);
    tokio::time::advance(TTL).await;
    assert_eq!(refused(world.key("adulis_b").await), "unauthenticated");
    assert!(begun.elapsed() <= TTL * 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_at_once_look_a_few_times() {
    let world = Arc::new(world());
    world.add("adulis_a", |_| {});
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.key("adulis_a").await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert!(world.looks() <= 2, "{} looks", world.looks());
}

#[tokio::test]
async fn configured_keys_come_as_others_do_or_in_their_own_header() {
    let world = world();
    assert_eq!(world.key("plain-key").await.unwrap().name, "plain");
    assert_eq!(world.ask("authorization", "Bearer plain-key").await.unwrap().name, "plain");
    assert_eq!(world.ask("admin-key", "admin").await.unwrap().name, "ops");
    for (header, value) in [
        ("admin-key", "plain-key"),
        ("admin-key", ""),
        ("x-api-key", "admin"),
        ("authorization", "Bearer admin"),
        ("authorization", "Basic admin"),
    ] {
        assert_eq!(refused(world.ask(header, value).await), "unauthenticated", "{header}: {value}");
    }
    assert_eq!(world.looks(), 0);
    let nobody = world.ask("other", "x").await.unwrap();
    assert_eq!(nobody.kind, IdentityKind::Anonymous);
    assert!(nobody.may(Scope::Health, None) && !nobody.may(Scope::Infer, None));
}
