use std::time::{Duration, SystemTime};

use adulis_store::{NewKey, StoreUrl};
use sqlx::Row;

use crate::support::{Served, direct};

pub(crate) async fn a_key_is_made_found_and_revoked(url: &StoreUrl) {
    let served = Served::new(url, None);
    let keys = served.store.keys();
    let now = SystemTime::now();
    let expires_at = Some(now + Duration::from_secs(60));
    let new = NewKey {
        name: "batch \"jobs\"\0".to_owned(),
        scopes: vec!["infer".to_owned(), "scope é".to_owned()],
        models: vec!["team-*".to_owned(), "é".to_owned()],
        expires_at,
        weight: 3,
        quota: "gold".to_owned(),
    };
    let (made, secret) = keys.create(new, "ann").await.unwrap();
    assert!(secret.reveal().starts_with("adulis_") && !format!("{secret:?}").contains(secret.reveal()));
    let found = keys.find(secret.reveal()).await.unwrap().unwrap();
    assert_eq!(found, made);
    assert_eq!(
        (&found.scopes[..], &found.models[..]),
        (&["infer", "scope é"].map(String::from)[..], &["team-*", "é"].map(String::from)[..])
    );
    assert_eq!((found.weight, found.quota.as_str()), (3, "gold"));
    assert!(secret.reveal().starts_with(&found.hint) && found.hint.len() == "adulis_".len() + 4);
    assert!(found.is_valid(now) && !found.is_valid(now + Duration::from_secs(61)));

    let (other, _) = keys.create(NewKey::default(), "ann").await.unwrap();
    let listed: Vec<String> = keys.list().await.unwrap().into_iter().map(|key| key.id).collect();
    assert!(listed.len() == 2 && listed.contains(&other.id) && listed.contains(&made.id));

    for nonsense in [
        "",
        "adulis_",
        "adulis_x",
        "' OR 1 = 1",
        &format!("adulis_{}", "x".repeat(1000)),
    ] {
        assert_eq!(keys.find(nonsense).await.unwrap(), None, "{nonsense}");
    }
    assert!(keys.revoke(&made.id, "bob").await.unwrap());
    assert!(!keys.revoke(&made.id, "bob").await.unwrap() && !keys.revoke("key_none", "bob").await.unwrap());
    let revoked = keys.find(secret.reveal()).await.unwrap().unwrap();
    assert!(!revoked.is_valid(SystemTime::now() + Duration::from_secs(1)));
    served.close().await;
}

pub(crate) async fn a_key_is_replaced_and_who_did_it_is_noted(url: &StoreUrl) {
    let served = Served::new(url, None);
    let keys = served.store.keys();
    let scopes = vec!["infer".to_owned()];
    let (old, _) = keys.create(NewKey { scopes, ..NewKey::default() }, "ann").await.unwrap();
    let grace = Duration::from_secs(3600);
    let (new, secret) = keys.rotate(&old.id, grace, "bob").await.unwrap().unwrap();
    assert!(new.id != old.id && new.scopes == old.scopes && new.expires_at.is_none());
    assert_eq!(keys.find(secret.reveal()).await.unwrap().unwrap(), new);
    let listed = keys.list().await.unwrap();
    let ended = listed.iter().find(|key| key.id == old.id).unwrap();
    let now = SystemTime::now();
    assert!(ended.is_valid(now) && !ended.is_valid(now + grace));
    // The second time it ends at once, and what has ended is not replaced.
    assert!(keys.rotate(&old.id, Duration::ZERO, "bob").await.unwrap().is_some());
    assert!(keys.rotate(&old.id, Duration::ZERO, "bob").await.unwrap().is_none());
    assert!(keys.rotate("key_none", grace, "bob").await.unwrap().is_none());
    keys.revoke(&new.id, "carl\0").await.unwrap();
    let told: Vec<String> = keys
        .events(100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| format!("{} {}", event.actor, event.operation))
        .collect();
    let expected = [
        "carl\u{fffd} revoke",
        "bob create",
        "bob rotate",
        "bob create",
        "bob rotate",
        "ann create",
    ];
    assert_eq!(told, expected);
    assert_eq!(keys.events(1).await.unwrap().len(), 1);
    served.close().await;
}

pub(crate) async fn the_secret_is_not_kept(url: &StoreUrl) {
    let served = Served::new(url, None);
    let (_, secret) = served.store.keys().create(NewKey::default(), "ann").await.unwrap();
    let database = direct(url).await;
    for (table, columns) in [
        ("adulis_api_keys", &["id", "name", "digest", "hint", "scopes", "models", "quota"][..]),
        ("adulis_key_audit", &["actor", "operation", "key_id", "detail"]),
    ] {
        let select = format!("SELECT {} FROM {table}", columns.join(", "));
        let rows = sqlx::query(sqlx::AssertSqlSafe(select)).fetch_all(&database).await.unwrap();
        for column in 0..columns.len() {
            let text: String = rows[0].get(column);
            assert!(!text.contains(&secret.reveal()[7..20]), "{text}");
        }
    }
    served.close().await;
}

pub(crate) async fn what_was_done_to_keys_cannot_be_undone(url: &StoreUrl) {
    let served = Served::new(url, None);
    let expires_at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800));
    let new = NewKey { expires_at, weight: 3, quota: "gold".to_owned(), ..NewKey::default() };
    served.store.keys().create(new, "ann").await.unwrap();
    let database = direct(url).await;
    for change in [
        "UPDATE adulis_key_audit SET actor = 'bob'",
        "DELETE FROM adulis_key_audit",
        "DELETE FROM adulis_key_audit WHERE id = 1",
    ] {
        let refused = sqlx::query(change).execute(&database).await.unwrap_err();
        assert!(refused.to_string().contains("only added to"), "{change}: {refused}");
    }
    if url.path().is_none() {
        let refused = sqlx::query("TRUNCATE adulis_key_audit").execute(&database).await.unwrap_err();
        assert!(refused.to_string().contains("only added to"), "{refused}");
    }
    let events = served.store.keys().events(10).await.unwrap();
    assert_eq!((events.len(), events[0].actor.as_str()), (1, "ann"));
    // What it says is enough to make the key again.
    let detail = &events[0].detail;
    assert!(
        detail.ends_with("models *; expires at 4102444800 (Unix time); weight 3; quota gold"),
        "{detail}"
    );
    served.close().await;
}
