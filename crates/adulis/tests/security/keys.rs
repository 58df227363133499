use serde_json::Value;

use crate::{Guarded, keys};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn keys_are_made_listed_replaced_and_ended_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = keys(folder.path(), arguments);
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (is_done, secret, aside) = run(&[
        "create",
        "billing",
        "--scope",
        "infer",
        "--model",
        "team-a-*",
        "--expires",
        "90d",
    ]);
    let secret = secret.trim();
    assert!(
        is_done && secret.starts_with("adulis_") && !secret.contains(char::is_whitespace),
        "{aside}"
    );
    assert!(aside.contains("shown this once") && aside.contains("auth.enabled is false"), "{aside}");
    let (_, listed, _) = run(&["list"]);
    assert!(
        listed.contains("billing") && listed.contains("team-a-*") && !listed.contains(secret),
        "{listed}"
    );
    let (_, listed, _) = run(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    assert!(secret.starts_with(listed[0]["hint"].as_str().unwrap()));

    let (is_done, replaced, aside) = run(&["rotate", id]);
    assert!(is_done && replaced.trim() != secret && aside.contains("ends now"), "{aside}");
    let (is_done, out, aside) = run(&["rotate", id]);
    assert!(!is_done && out.is_empty() && aside.contains("no valid key"), "{aside}");
    let (is_done, _, aside) = run(&["revoke", id]);
    assert!(is_done, "one that has ended can be revoked for good: {aside}");
    assert!(!run(&["revoke", id]).0 && !run(&["revoke", "key_none"]).0);
    let (_, listed, _) = run(&["list"]);
    assert!(!listed.contains(id), "{listed}");
    assert!(run(&["list", "--all"]).1.contains(id));

    let (_, history, _) = run(&["history", "--json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    let operations: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["revoke", "create", "rotate", "create"]);
    let actor = history[0]["actor"].as_str().unwrap();
    assert!(
        actor.contains("(uid ") && !actor.contains("somebody-else"),
        "the environment is not believed: {actor}"
    );
    assert!(!history.to_string().contains(secret));

    for wrong in [
        &["create", "x"][..],
        &["create", "x", "--scope", "everything"],
        &["create", "x", "--scope", "infer", "--expires", "yesterday"],
        &["create", "x", "--scope", "infer", "--weight", "0"],
        &[],
    ] {
        let output = keys(folder.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_key_has_no_class_of_quotas_that_its_configuration_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let create = |class: &str| keys(folder.path(), &["create", "x", "--scope", "infer", "--quota", class]);
    assert!(create("typo").status.success(), "a configuration without classes knows nothing of them");
    std::fs::write(folder.path().join("adulis.toml"), "[quotas.gold]\nrequests_per_second = 1\n").unwrap();
    let refused = create("glod");
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{told}");
    assert!(
        told.contains("\"glod\" is no class of quotas in this configuration, which has gold"),
        "{told}"
    );
    assert!(create("gold").status.success());
    let listed = text(&keys(folder.path(), &["list", "--json"]).stdout);
    assert!(!listed.contains("glod"), "{listed}");
}

#[tokio::test]
async fn command_line_tools_show_a_key() {
    let guarded = Guarded::start("", &[]).await;
    let (_, key) = guarded.key(&["--scope", "cache"]);
    let url = format!("http://{}", guarded.server.address("http").await);
    let cache = |key: Option<&str>| {
        let mut command = std::process::Command::new(crate::BINARY);
        command.args(["cache", "status", "--url", &url]);
        if let Some(key) = key {
            command.env("ADULIS_API_KEY", key);
        }
        let output = command.output().unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (is_told, told, complaints) = cache(Some(&key));
    assert!(is_told && told.contains("memory: 0 answers"), "{complaints}");
    let (is_told, _, complaints) = cache(None);
    assert!(!is_told && complaints.contains("401"), "{complaints}");
    let (is_told, _, complaints) = cache(Some("planted secret"));
    assert!(!is_told && !complaints.contains("planted"), "{complaints}");
}
