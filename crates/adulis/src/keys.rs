//! `adulis keys`: API keys, in the store itself. No server need be running.

use std::fmt::Write;
use std::time::SystemTime;

use adulis_store::{
    ApiKey, ApiKeys, Database, DatabaseMetrics, KeyEvent, KeySecret, NewKey, PoolOptions, Tables,
};
use adulis_telemetry::MetricRegistry;
use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::cli::{CreateArgs, KeysCommand};
use crate::config::Config;

/// What a command says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What was asked for: for the standard output.
    pub out: String,
    /// A word beside it, for people.
    pub aside: String,
}

/// Does what a command says to the keys of the store that a configuration names.
///
/// # Errors
/// The store cannot be reached, or there is no such key, or a class of quotas is named that there is not.
pub async fn run(command: &KeysCommand, config: &Config) -> anyhow::Result<Told> {
    if let KeysCommand::Create(args) = command {
        quota_is_there(args.quota.as_deref().unwrap_or_default(), config)?;
    }
    let url = config.store.place();
    let metrics = DatabaseMetrics::register(&MetricRegistry::default());
    let pool = PoolOptions { max_connections: 1, min_connections: 0, ..config.store.pool.clone() };
    let database = Database::open(&url, Tables::Made, &pool, &metrics)?;
    let keys = ApiKeys::new(database.clone());
    let told = tell(command, &keys).await;
    database.close().await;
    let mut told = told.with_context(|| format!("the keys of {url}"))?;
    if matches!(command, KeysCommand::Create(_)) && !config.auth.enabled {
        told.aside.push_str(
            "note: auth.enabled is false in this configuration: a server with it asks nobody for a key\n",
        );
    }
    Ok(told)
}

/// Servers would let a key of a class that they don't have pass without limits, or with those of everybody. Where the
/// configuration has no classes at all, it is another one that has them.
fn quota_is_there(class: &str, config: &Config) -> anyhow::Result<()> {
    let classes = &config.quotas.options.classes;
    if class.is_empty() || classes.is_empty() || classes.contains_key(class) {
        return Ok(());
    }
    let known = classes.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
    bail!(
        "{class:?} is no class of quotas in this configuration, which has {known}: name one of these, or add [quotas.{class}]"
    )
}

async fn tell(command: &KeysCommand, keys: &ApiKeys) -> anyhow::Result<Told> {
    let now = SystemTime::now();
    match command {
        KeysCommand::Create(args) => {
            let (key, secret) = keys.create(new_key(args), &actor()).await?;
            Ok(made(&key, &secret, args.json))
        }
        KeysCommand::List { all, json } => {
            let mut listed = keys.list().await?;
            listed.retain(|key| *all || key.is_valid(now));
            Ok(Told { out: list(&listed, *json, now), aside: String::new() })
        }
        KeysCommand::Rotate { id, grace, json } => match keys.rotate(id, *grace, &actor()).await? {
            Some((key, secret)) => {
                let mut told = made(&key, &secret, *json);
                let when = if grace.is_zero() {
                    "now".to_owned()
                } else {
                    format!("in {}", humantime::format_duration(*grace))
                };
                // Writing to a string cannot fail.
                let _ = writeln!(told.aside, "{id} ends {when}");
                Ok(told)
            }
            None => bail!("there is no valid key {id}: see `adulis keys list`"),
        },
        KeysCommand::Revoke { id } => {
            if !keys.revoke(id, &actor()).await? {
                bail!("there is no key {id} that is not revoked yet: see `adulis keys list`");
            }
            let aside = format!("{id} is revoked: servers refuse it within twice their auth.ttl\n");
            Ok(Told { out: String::new(), aside })
        }
        KeysCommand::History { limit, json } => {
            let events = keys.events(*limit).await?;
            Ok(Told { out: history(&events, *json), aside: String::new() })
        }
    }
}

fn new_key(args: &CreateArgs) -> NewKey {
    let mut new = NewKey {
        name: args.name.clone(),
        scopes: args.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        expires_at: args.expires,
        weight: args.weight,
        quota: args.quota.clone().unwrap_or_default(),
        ..NewKey::default()
    };
    if !args.models.is_empty() {
        new.models.clone_from(&args.models);
    }
    new
}

/// Who does it, as the machine knows them: the user of this process, whatever the environment says.
fn actor() -> String {
    let uid = rustix::process::getuid().as_raw();
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let users = read("/etc/passwd").unwrap_or_default();
    let sudo = std::env::var("SUDO_USER").ok();
    let user = user(uid, name_of(uid, &users), sudo.as_deref());
    match read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname")) {
        Some(host) => format!("{user}@{}", host.trim()),
        None => user,
    }
}

/// The name of a user in a text like that of `/etc/passwd`. Those of a directory are known by their number alone: to ask for
/// their names takes a C library, and unsafe code.
fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse::<u32>() == Ok(uid)).then_some(name)
    })
}

/// A user for the history. What `sudo` says of who called it stands beside it: whoever may do this can say so, too.
fn user(uid: u32, name: Option<&str>, sudo: Option<&str>) -> String {
    let name = name.map(|name| format!("{name} ")).unwrap_or_default();
    let sudo = sudo.filter(|caller| !caller.is_empty());
    let sudo = sudo.map(|caller| format!(", SUDO_USER={caller}")).unwrap_or_default();
    format!("{name}(uid {uid}{sudo})")
}

fn made(key: &ApiKey, secret: &KeySecret, as_json: bool) -> Told {
    if as_json {
        let mut document = describe(key, SystemTime::now());
        document["key"] = secret.reveal().into();
        return Told { out: format!("{document}\n"), aside: String::new() };
    }
    Told {
        out: format!("{}\n", secret.reveal()),
        aside: format!("{} is made; the key above is shown this once\n", key.id),
    }
}

fn describe(key: &ApiKey, now: SystemTime) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "scopes": key.scopes,
        "models": key.models,
        "weight": key.weight,
        "quota": key.quota,
        "state": state(key, now),
        "created_at": moment(key.created_at),
        "expires_at": key.expires_at.map(moment),
        "revoked_at": key.revoked_at.map(moment),
    })
}

fn state(key: &ApiKey, now: SystemTime) -> &'static str {
    match (key.is_revoked(now), key.is_valid(now)) {
        (true, _) => "revoked",
        (false, true) => "valid",
        (false, false) => "expired",
    }
}

fn moment(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn list(keys: &[ApiKey], as_json: bool, now: SystemTime) -> String {
    if as_json {
        return format!("{}\n", Value::from_iter(keys.iter().map(|key| describe(key, now))));
    }
    let mut rows = vec![["ID", "NAME", "KEY", "SCOPES", "MODELS", "STATE", "EXPIRES"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        let expires = key.expires_at.map_or_else(|| "never".to_owned(), moment);
        [
            key.id.clone(),
            printable(&key.name),
            format!("{}…", key.hint),
            key.scopes.join(","),
            printable(&key.models.join(",")),
            state(key, now).to_owned(),
            expires,
        ]
    }));
    table(&rows)
}

fn history(events: &[KeyEvent], as_json: bool) -> String {
    if as_json {
        let events = events.iter().map(|event| {
            json!({
                "at": moment(event.at),
                "actor": event.actor,
                "operation": event.operation,
                "key_id": event.key_id,
                "detail": event.detail,
            })
        });
        return format!("{}\n", Value::from_iter(events));
    }
    let mut rows = vec![["AT", "ACTOR", "OPERATION", "KEY", "DETAIL"].map(str::to_owned)];
    rows.extend(events.iter().map(|event| {
        let KeyEvent { at, actor, operation, key_id, detail } = event;
        [
            moment(*at),
            printable(actor),
            operation.clone(),
            key_id.clone(),
            printable(detail),
        ]
    }));
    table(&rows)
}

/// Text that moves no cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_did_it_is_told_by_number_and_name_and_what_sudo_says_beside_it() {
        let users = "root:x:0:0:root:/root:/bin/sh\n# a comment\nann:x:1000:1000:,,,:/:/bin/sh\nbob:x:10\n";
        assert_eq!(
            [0, 1000, 10, 7].map(|uid| name_of(uid, users)),
            [Some("root"), Some("ann"), Some("bob"), None]
        );
        for (name, sudo, expected) in [
            (Some("ann"), None, "ann (uid 7)"),
            (Some("root"), Some("ann"), "root (uid 7, SUDO_USER=ann)"),
            (None, Some(""), "(uid 7)"),
        ] {
            assert_eq!(user(7, name, sudo), expected);
        }
        let own = format!("(uid {}", rustix::process::getuid().as_raw());
        assert!(actor().contains(&own), "{}", actor());
    }

    #[test]
    fn a_list_tells_no_more_than_the_beginning_of_a_key() {
        let key = ApiKey {
            id: "key_1".to_owned(),
            name: "a\u{1b}[2J".to_owned(),
            hint: "adulis_abcd".to_owned(),
            scopes: vec!["infer".to_owned(), "cache".to_owned()],
            models: vec!["*".to_owned()],
            weight: 1,
            quota: String::new(),
            created_at: SystemTime::UNIX_EPOCH,
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)),
            revoked_at: None,
        };
        let text = list(std::slice::from_ref(&key), false, SystemTime::UNIX_EPOCH);
        let expected = "\
ID     NAME   KEY           SCOPES       MODELS  STATE  EXPIRES
key_1  a\u{fffd}[2J  adulis_abcd…  infer,cache  *       valid  1970-01-02T00:00:00Z
";
        assert_eq!(text, expected);
        let told: Value = serde_json::from_str(&list(&[key], true, SystemTime::now())).unwrap();
        assert_eq!(
            (&told[0]["state"], &told[0]["expires_at"]),
            (&json!("expired"), &json!("1970-01-02T00:00:00Z"))
        );
    }
}
