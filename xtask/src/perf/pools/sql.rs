//! The store's pool: features that several models look up in PostgreSQL at the same time.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use adulis_testing::PostgresServer;
use anyhow::{Context, Result};

use super::super::load::{Running, lenient, one_window, rest};
use super::super::series::Measured;
use super::super::workbench::{Adulis, Workbench};
use super::{QUICK_WINDOW, Sweep, WINDOW, serve};
use crate::process;

/// Models with a lookup each. One model's lookups share a query, and so have a connection at most.
const MODELS: usize = 8;

/// Requests in flight for each model that is asked.
const CONCURRENCY: &str = "8";

/// Rows of the table.
const IDS: usize = 1000;

/// A table, and a view of it that takes 2 ms longer: a database that is far away, or has more to do.
const SCHEMA: &str = "CREATE TABLE customers (id bigint PRIMARY KEY, age real, balance real);
INSERT INTO customers SELECT id, id % 90, id * 3 FROM generate_series(1, 1000) AS id;
CREATE VIEW distant_customers AS SELECT customers.* FROM customers, pg_sleep(0.002);";

/// PostgreSQL: connections that serve one query at a time.
pub(in super::super) fn run(bench: &Workbench) -> Result<Measured> {
    let postgres = PostgresServer::start().context("cannot start PostgreSQL")?;
    let mut psql = Command::new("psql");
    psql.arg(postgres.url())
        .args(["--quiet", "--set", "ON_ERROR_STOP=1", "--command", SCHEMA]);
    process::capture(&mut psql)?;
    let repository = repository(bench)?;
    let ids = bench.folder.join("ids.json");
    fs::write(&ids, input_data()).with_context(|| format!("cannot write {}", ids.display()))?;
    let ids = ids.display().to_string();
    let sweep = Sweep {
        shown: "PostgreSQL, queries of 2 ms",
        pool: "store",
        sizes: &[1, 2, 4, 8],
        default: 4,
        levels: &[1, 4, 8],
        level: "models at a time",
    };
    let start = |size: usize| {
        let settings = [
            format!("store.url={}", postgres.url()),
            "store.lookup=true".to_owned(),
            format!("store.pool.max_connections={size}"),
        ];
        serve(bench, &repository, &settings)
    };
    let load = |adulis: &Adulis, models: usize| -> Result<Vec<Running>> {
        let ask = |model: usize| {
            let mut command = lenient(bench, &name(model), &rest(adulis.http));
            command.args(["--concurrency", CONCURRENCY, "--input-data", &ids, "--zipf", "0"]);
            // The file says how many there are, and the law asks.
            command.args(["--distinct", &IDS.to_string()]);
            one_window(&mut command, bench.count(WINDOW, QUICK_WINDOW));
            Running::start(&mut command)
        };
        (0..models).map(ask).collect()
    };
    sweep.run(bench, start, load)
}

fn name(model: usize) -> String {
    format!("customers_{model}")
}

fn repository(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("lookups");
    let lookup = r#"{"key": "customer_id", "datatype": "INT64", "table": "distant_customers", "key_column": "id",
        "inputs": {"INPUT0": ["age", "balance"]}, "missing": "error"}"#;
    let config = format!(
        "backend: \"identity\"\nmax_batch_size: 64\n\
         input {{ name: \"INPUT0\" data_type: TYPE_FP32 dims: 2 }}\n\
         output {{ name: \"OUTPUT0\" data_type: TYPE_FP32 dims: 2 }}\n\
         parameters {{ key: \"lookup\" value: {{ string_value: \"{}\" }} }}\n",
        lookup.replace('"', "\\\"").replace('\n', "")
    );
    for model in 0..MODELS {
        super::super::cache::write(&repository.join(name(model)), &config)?;
    }
    Ok(repository)
}

/// Every id once.
fn input_data() -> String {
    let ids: Vec<String> = (1..=IDS).map(|id| format!("{{\"customer_id\":[{id}]}}")).collect();
    format!("{{\"data\":[{}]}}", ids.join(","))
}
