use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, Row};

use crate::database::Lease;
use crate::sql::is_identifier;
use crate::{Database, DatabaseKind, StoreError};

/// Ids of one statement.
const CHUNK: usize = 512;
/// Tables whose key's type is remembered.
const MAX_TABLES: usize = 1000;

/// The cells of one entity, in the order of the columns that were asked for, as text; `None` where a cell is NULL.
pub type FeatureRow = Vec<Option<Bytes>>;

/// Rows of tables that others keep, read by the id in one column: features of entities. It only reads.
///
/// Names of tables and columns are letters, digits and `_`, and quoted; ids are bound. Ids are text: what the column's type
/// cannot be is an entity that is not there.
#[derive(Debug)]
pub struct FeatureTables {
    database: Arc<Database>,
    key_column: String,
    /// PostgreSQL's type of that column, by table.
    types: Mutex<HashMap<String, String>>,
}

impl FeatureTables {
    /// Reads the tables of a database by this column, which should have an index.
    ///
    /// # Errors
    /// [`StoreError::Name`] for what is no column's name.
    pub fn new(database: Arc<Database>, key_column: &str) -> Result<Self, StoreError> {
        let key_column = checked(key_column)?;
        Ok(Self { database, key_column, types: Mutex::default() })
    }

    /// The rows of these ids in `table`, or `schema.table`, in their order; `None` where there is none. One query for every
    /// 512 of them. Dropping the future cancels it.
    ///
    /// # Errors
    /// [`StoreError`] if any of them could not be asked for; [`StoreError::Name`] for what is no table's or column's name.
    pub async fn fetch(
        &self,
        table: &str,
        ids: &[Bytes],
        columns: &[String],
    ) -> Result<Vec<Option<FeatureRow>>, StoreError> {
        let parts = table.split('.').map(checked).collect::<Result<Vec<String>, _>>()?;
        if parts.len() > 2 {
            return Err(StoreError::Name { name: table.to_owned() });
        }
        let table = format!("\"{}\"", parts.join("\".\""));
        let columns = columns.iter().map(|column| checked(column)).collect::<Result<Vec<_>, _>>()?;
        let work = || async {
            let mut connection = self.database.connect().await?;
            let key_type = self.key_type(&mut connection, &table).await?;
            let wanted: Vec<(usize, &str)> = ids
                .iter()
                .enumerate()
                .filter_map(|(index, id)| Some((index, text_of(id, key_type.as_deref())?)))
                .collect();
            let mut rows = vec![None; ids.len()];
            for wanted in wanted.chunks(CHUNK) {
                let statement = self.statement(&table, &columns, (wanted.len(), key_type.as_deref()));
                read(&mut connection, statement, wanted, &mut rows).await?;
            }
            connection.done();
            Ok(rows)
        };
        // A table that is not there says nothing of the database.
        self.database.read("features", work, |error| !error.is_statement_fault()).await
    }

    /// The rows of so many ids, each with the place of its id. An id that is bound to a place is compared as what the column
    /// is, so that its index serves. With the table's alias before it, SQLite takes no name that is no column's for text.
    fn statement(&self, table: &str, columns: &[String], (ids, key_type): (usize, Option<&str>)) -> String {
        let mut text = "WITH wanted(place, id) AS (VALUES ".to_owned();
        // Few lengths make few statements to prepare.
        for place in 0..ids.next_power_of_two() {
            let (comma, parameter) = (if place == 0 { "" } else { "," }, place + 1);
            let _ = match key_type {
                Some(key_type) => write!(text, "{comma}({place},CAST(${parameter} AS {key_type}))"),
                None => write!(text, "{comma}({place},${parameter})"),
            };
        }
        text.push_str(") SELECT CAST(wanted.place AS BIGINT)");
        for column in columns {
            let _ = write!(text, ",CAST(t.\"{column}\" AS TEXT)");
        }
        let _ = write!(text, " FROM wanted JOIN {table} AS t ON t.\"{}\" = wanted.id", self.key_column);
        text
    }

    /// PostgreSQL's type of the key; `None` for SQLite, which compares text with a number as numbers.
    async fn key_type(&self, connection: &mut Lease, table: &str) -> Result<Option<String>, StoreError> {
        if self.database.kind() == DatabaseKind::Sqlite {
            return Ok(None);
        }
        if let Some(known) = self.types.lock().get(table) {
            return Ok(Some(known.clone()));
        }
        // Without the length of a text, to which it would be cut.
        let select = "SELECT format_type(a.atttypid, -1) FROM pg_attribute a
                      WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
        let query = sqlx::query(select).bind(table.to_owned()).bind(self.key_column.clone());
        let row = query.fetch_optional(&mut **connection).await?;
        let no_column = || StoreError::NoColumn { table: table.to_owned(), column: self.key_column.clone() };
        let found: String = row.ok_or_else(no_column)?.try_get(0)?;
        let mut types = self.types.lock();
        if types.len() >= MAX_TABLES {
            types.clear();
        }
        types.insert(table.to_owned(), found.clone());
        Ok(Some(found))
    }
}

async fn read(
    connection: &mut Lease,
    statement: String,
    wanted: &[(usize, &str)],
    rows: &mut [Option<FeatureRow>],
) -> Result<(), StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    let last = wanted.last().map_or("", |(_, id)| id);
    let fill = wanted.len().next_power_of_two() - wanted.len();
    for id in wanted.iter().map(|(_, id)| *id).chain(std::iter::repeat_n(last, fill)) {
        query = query.bind(id.to_owned());
    }
    for row in query.fetch_all(&mut **connection).await? {
        let place: i64 = row.try_get(0)?;
        let Some((index, _)) = usize::try_from(place).ok().and_then(|place| wanted.get(place)) else {
            continue;
        };
        let cells = (1..row.len()).map(|column| {
            let cell: Option<String> = row.try_get(column)?;
            Ok(cell.map(Bytes::from))
        });
        rows[*index] = Some(cells.collect::<Result<FeatureRow, sqlx::Error>>()?);
    }
    Ok(())
}

/// An id that the column may hold: text, and a number where it holds numbers.
fn text_of<'a>(id: &'a Bytes, key_type: Option<&str>) -> Option<&'a str> {
    let text = std::str::from_utf8(id).ok().filter(|text| !text.contains('\0'))?;
    let fits = match key_type {
        Some("smallint") => text.parse::<i16>().is_ok(),
        Some("integer") => text.parse::<i32>().is_ok(),
        Some("bigint") => text.parse::<i64>().is_ok(),
        _ => true,
    };
    fits.then_some(text)
}

fn checked(name: &str) -> Result<String, StoreError> {
    if is_identifier(name) {
        Ok(name.to_owned())
    } else {
        Err(StoreError::Name { name: name.to_owned() })
    }
}
