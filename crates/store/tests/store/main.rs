//! The store over real databases: one table of cases, run on SQLite and on PostgreSQL, and what happens when they are down.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod export;
mod features;
mod hashes;
mod keys;
mod log;
mod lookup;
mod migrations;
mod outage;
mod support;
mod tls;
mod usage;

use support::Place;

/// Every case, each with a database of its own.
macro_rules! cases {
    ($($module:ident::$case:ident,)*) => {
        async fn run(place: &Place) {
            $(
                println!("{}", stringify!($module::$case));
                $module::$case(&place.database(stringify!($case)).await).await;
            )*
        }
    };
}

cases! {
    migrations::many_at_once_make_the_tables_once,
    migrations::tables_of_another_build_are_refused,
    migrations::nothing_is_made_where_tables_are_expected,
    keys::a_key_is_made_found_and_revoked,
    keys::a_key_is_replaced_and_who_did_it_is_noted,
    keys::the_secret_is_not_kept,
    keys::what_was_done_to_keys_cannot_be_undone,
    usage::sums_equal_what_was_counted,
    usage::replicas_add_to_the_same_sums,
    usage::what_identities_use_is_theirs,
    log::answers_are_written_as_they_were,
    log::what_is_redacted_is_not_in_the_database,
    log::what_a_database_cannot_hold_takes_nothing_with_it,
    log::retention_deletes_the_old_and_the_many,
    features::rows_come_in_the_order_of_their_ids,
    features::many_ids_take_a_few_queries,
    features::what_is_not_there_harms_nothing_else,
    lookup::features_take_the_place_of_ids,
    lookup::what_is_missing_is_told_or_has_its_default,
    lookup::a_lookup_that_names_what_is_not_there_harms_nothing_else,
    lookup::many_at_once_share_queries,
    lookup::an_id_that_the_column_cannot_be_fails_nobody_else,
    export::json_lines_read_back,
    export::parquet_reads_back,
    export::model_and_time_choose,
}

#[tokio::test]
async fn sqlite() {
    run(&Place::sqlite()).await;
}

#[tokio::test]
async fn postgres() {
    run(&Place::postgres()).await;
}
