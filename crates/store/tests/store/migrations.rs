use adulis_store::{StoreError, StoreUrl, Tables};

use crate::support::{direct, open};

pub(crate) async fn many_at_once_make_the_tables_once(url: &StoreUrl) {
    let replicas: Vec<_> = (0..6).map(|_| open(url, Tables::Made)).collect();
    let pings: Vec<_> = replicas
        .iter()
        .map(|database| {
            let database = database.clone();
            tokio::spawn(async move { database.ping().await })
        })
        .collect();
    for ping in pings {
        ping.await.unwrap().unwrap();
    }
    let pool = direct(url).await;
    let applied = sqlx::query("SELECT version FROM adulis_migrations").fetch_all(&pool).await.unwrap();
    assert_eq!(applied.len(), 3);
}

pub(crate) async fn tables_of_another_build_are_refused(url: &StoreUrl) {
    open(url, Tables::Made).ping().await.unwrap();
    let pool = direct(url).await;
    let later = "INSERT INTO adulis_migrations (version, digest, applied_at_us) VALUES (99, 'x', 0)";
    sqlx::raw_sql(later).execute(&pool).await.unwrap();
    for tables in [Tables::Made, Tables::Expected] {
        let database = open(url, tables);
        let error = database.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 99, known: 3 }), "{error:?}");
        assert!(database.problem().unwrap().contains("migration 99"));
    }
    let changed =
        "DELETE FROM adulis_migrations WHERE version = 99; UPDATE adulis_migrations SET digest = 'x'";
    sqlx::raw_sql(changed).execute(&pool).await.unwrap();
    let error = open(url, Tables::Made).ping().await.unwrap_err();
    assert!(matches!(error, StoreError::OtherMigration { version: 1 }), "{error:?}");
}

pub(crate) async fn nothing_is_made_where_tables_are_expected(url: &StoreUrl) {
    let error = open(url, Tables::Expected).ping().await.unwrap_err();
    if let Some(path) = url.path() {
        assert!(!path.exists(), "{error:?}");
    } else {
        assert!(matches!(error, StoreError::Empty), "{error:?}");
    }
    open(url, Tables::Made).ping().await.unwrap();
    open(url, Tables::Expected).ping().await.unwrap();
}
