use adulis_store::{FeatureTables, StoreError, StoreUrl, Tables};
use bytes::Bytes;

use crate::support::{direct, open};

fn ids(ids: &[&str]) -> Vec<Bytes> {
    ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect()
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Cells as text, `-` for NULL, and `none` for no row.
fn told(rows: Vec<Option<Vec<Option<Bytes>>>>) -> Vec<String> {
    let cell =
        |cell: Option<Bytes>| cell.map_or("-".to_owned(), |cell| String::from_utf8(cell.to_vec()).unwrap());
    let row = |row: Vec<Option<Bytes>>| row.into_iter().map(cell).collect::<Vec<_>>().join(" ");
    rows.into_iter().map(|found| found.map_or("none".to_owned(), row)).collect()
}

pub(crate) async fn rows_come_in_the_order_of_their_ids(url: &StoreUrl) {
    let pool = direct(url).await;
    let table = "CREATE TABLE customers (id BIGINT PRIMARY KEY, age INT, \"Rate\" REAL, segment VARCHAR(3), code CHAR(2));
        INSERT INTO customers VALUES (1, 31, 0.5, 'a''\"', 'x'), (2, NULL, 2, NULL, 'yz'), (-3, 7, 1, 'c', NULL)";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    let by_id = FeatureTables::new(open(url, Tables::Made), "id").unwrap();
    let wanted = ["2", "99", "1", "-3", "no number", "9223372036854775808", "", "1"];
    let rows = by_id.fetch("customers", &ids(&wanted), &columns(&["age", "segment"])).await.unwrap();
    assert_eq!(told(rows), ["- -", "none", "31 a'\"", "7 c", "none", "none", "none", "31 a'\""]);
    let bad = [Bytes::from_static(b"\xff"), Bytes::from_static(b"1\0")];
    assert_eq!(told(by_id.fetch("customers", &bad, &columns(&["age"])).await.unwrap()), ["none", "none"]);
    assert_eq!(told(by_id.fetch("customers", &[], &columns(&["age"])).await.unwrap()), [""; 0]);
    // By text: an id is not cut to the column's length, and no number.
    let by_text = FeatureTables::new(open(url, Tables::Made), "segment").unwrap();
    let rows = by_text
        .fetch("customers", &ids(&["c", "ccc", "' OR '1' = '1", "a'\""]), &columns(&["id"]))
        .await;
    assert_eq!(told(rows.unwrap()), ["-3", "none", "none", "1"]);
}

pub(crate) async fn many_ids_take_a_few_queries(url: &StoreUrl) {
    let table = "CREATE TABLE many (id INT PRIMARY KEY, twice INT);
        INSERT INTO many WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 2999) SELECT n, n * 2 FROM n";
    sqlx::raw_sql(table).execute(&direct(url).await).await.unwrap();
    let by_id = FeatureTables::new(open(url, Tables::Made), "id").unwrap();
    for count in [1_usize, 2, 3, 511, 512, 513, 2000] {
        let wanted: Vec<Bytes> = (0..count).map(|id| Bytes::from((id * 2).to_string())).collect();
        let rows = by_id.fetch("many", &wanted, &columns(&["twice"])).await.unwrap();
        let expected =
            (0..count).map(|id| if id * 2 < 3000 { (id * 4).to_string() } else { "none".to_owned() });
        assert_eq!(told(rows), expected.collect::<Vec<_>>());
    }
}

pub(crate) async fn what_is_not_there_harms_nothing_else(url: &StoreUrl) {
    sqlx::raw_sql("CREATE TABLE t (id INT, a INT)").execute(&direct(url).await).await.unwrap();
    let database = open(url, Tables::Made);
    let one = ids(&["1"]);
    let by = |key: &str| FeatureTables::new(database.clone(), key);
    by("id").unwrap().fetch("gone", &one, &columns(&["a"])).await.unwrap_err();
    // SQLite would take a quoted name that is no column for text.
    by("id").unwrap().fetch("t", &one, &columns(&["b"])).await.unwrap_err();
    by("key").unwrap().fetch("t", &one, &columns(&["a"])).await.unwrap_err();
    assert_eq!(database.problem(), None);
    for (key, table, column) in [
        ("id\"", "t", "a"),
        ("id", "t; DROP TABLE t", "a"),
        ("id", "a.b.c", "a"),
        ("id", "", "a"),
        ("id", "t", "a\", \"b"),
        ("id", "t", "1a"),
    ] {
        let error = match by(key) {
            Ok(tables) => tables.fetch(table, &one, &columns(&[column])).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, StoreError::Name { .. }), "{error:?}");
    }
    assert_eq!(told(by("id").unwrap().fetch("t", &one, &columns(&["a"])).await.unwrap()), ["none"]);
}
