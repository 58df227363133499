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
        scopes: vec!["infer".to_owned(), "models:é".to_owned()],
        expires_at,
    };
    let (made, secret) = keys.create(new).await.unwrap();
    assert!(secret.reveal().starts_with("adulis_") && !format!("{secret:?}").contains(secret.reveal()));
    let found = keys.find(secret.reveal()).await.unwrap().unwrap();
    assert_eq!(found, made);
    assert_eq!(found.scopes, ["infer", "models:é"]);
    assert!(found.is_valid(now) && !found.is_valid(now + Duration::from_secs(61)));

    let (other, _) = keys.create(NewKey::default()).await.unwrap();
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
    assert!(keys.revoke(&made.id).await.unwrap());
    assert!(!keys.revoke(&made.id).await.unwrap() && !keys.revoke("key_none").await.unwrap());
    let revoked = keys.find(secret.reveal()).await.unwrap().unwrap();
    assert!(!revoked.is_valid(SystemTime::now() + Duration::from_secs(1)));
    served.close().await;
}

pub(crate) async fn the_secret_is_not_kept(url: &StoreUrl) {
    let served = Served::new(url, None);
    let (_, secret) = served.store.keys().create(NewKey::default()).await.unwrap();
    let rows = sqlx::query("SELECT id, name, digest, scopes FROM adulis_api_keys")
        .fetch_all(&direct(url).await)
        .await
        .unwrap();
    for column in 0..4 {
        let text: String = rows[0].get(column);
        assert!(!text.contains(&secret.reveal()[7..20]), "{text}");
    }
    served.close().await;
}
