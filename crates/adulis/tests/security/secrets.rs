//! Secrets are planted wherever one can be, and searched for in everything that the server says.

use std::process::Command;

use adulis_testing::RawConnection;

use crate::{Guarded, support};

/// What is planted begins so.
const PLANTED: &str = "planted5ecret";

#[tokio::test]
async fn nothing_that_a_client_shows_is_told_or_logged() {
    let digest = adulis::security::KeyDigest::of(format!("{PLANTED}-configured").as_bytes());
    let configuration = format!(
        "[auth]\nenabled = true\n[auth.keys.ops]\ndigest = '{digest}'\nscopes = ['infer']\n[audit]\nfile = 'AUDIT'\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let configuration = configuration.replace("AUDIT", &audit.display().to_string());
    let loud = [
        "--set",
        "log.filter=trace,h2=info,hyper=trace",
        "--set",
        "log.access=true",
    ];
    let guarded = Guarded::start_in(folder, &configuration, &loud).await;
    let (_, key) = guarded.key(&["--scope", "admin"]);
    let mut told = String::new();
    for (name, value) in [
        ("authorization", format!("Bearer {PLANTED}-wrong")),
        ("authorization", format!("Bearer adulis_{PLANTED}")),
        ("authorization", format!("Basic {PLANTED}")),
        ("authorization", format!("Bearer ey{PLANTED}.ey{PLANTED}.{PLANTED}")),
        ("x-api-key", format!("{PLANTED}-configured")),
        ("x-api-key", format!("{PLANTED} with spaces")),
        ("x-api-key", key.clone()),
    ] {
        for line in [
            "POST /v2/models/digits/infer",
            "GET /v2/logging",
            "POST /v2/logging",
            "GET /v2/nothing",
        ] {
            let mut connection = RawConnection::open(guarded.server.address("http").await).await.unwrap();
            let header = format!("{name}: {value}");
            let answer =
                connection.request(line, &[&header], support::byte_json(1).as_bytes()).await.unwrap();
            told.push_str(&answer.head);
            told.push_str(&answer.text());
        }
        let (_, message) =
            support::infer_raw(&guarded.server, &[(name, &value)], &support::byte_message("digits", 1)).await;
        told.push_str(&message);
    }
    told.push_str(&guarded.server.get_on("metrics", "/metrics").await.unwrap().text());
    told.push_str(&guarded.server.get("/v2/health/ready").await.unwrap().text());
    told.push_str(&guarded.server.log());
    told.push_str(&std::fs::read_to_string(&audit).unwrap());
    for list in [&["list", "--all"][..], &["history"]] {
        told.push_str(&String::from_utf8_lossy(&guarded.keys(list).stdout));
    }
    assert!(told.contains("adulis_auth_requests_total") && told.contains("log_update"), "{told}");
    for secret in [PLANTED, &key] {
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is told");
    }
    // The store holds digests.
    let stored = std::fs::read(guarded.folder.path().join("adulis.db")).unwrap();
    assert!(!stored.windows(key.len()).any(|window| window == key.as_bytes()));
}

#[test]
fn secrets_of_the_configuration_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(support::BINARY);
        command.current_dir(folder.path()).args(["serve", "--print-config"]).args(arguments);
        for (name, value) in variables {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    };
    let url = format!("store.url=postgres://adulis:{PLANTED}@db/adulis");
    let (is_printed, printed) = run(
        &[
            "--set",
            &url,
            "--set",
            &format!("cache.redis.url=redis://user:{PLANTED}@cache"),
        ],
        &[
            ("ADULIS_CACHE_REDIS_PASSWORD", PLANTED),
            ("ADULIS_API_KEY", PLANTED),
            ("PGPASSWORD", PLANTED),
        ],
    );
    assert!(!printed.contains(PLANTED), "{printed}");
    let (_, alone) = run(&["--set", &url], &[("ADULIS_API_KEY", PLANTED)]);
    assert!(alone.contains("[store]") && !alone.contains(PLANTED), "{is_printed} {alone}");
    // What is wrong is told without being repeated, where it may be a secret.
    for wrong in [
        format!("auth.keys.a.digest={PLANTED}"),
        format!("auth.jwt.jwks_url=https://user:{PLANTED}@issuer/keys"),
        format!("store.url=mysql://user:{PLANTED}@db"),
    ] {
        let issuer = [
            "--set",
            "auth.jwt.issuer=https://i",
            "--set",
            "auth.jwt.audience=[\"a\"]",
        ];
        let enabled = [
            "--set",
            "auth.enabled=true",
            "--set",
            "auth.keys.a.scopes=[\"infer\"]",
        ];
        let (is_printed, told) = run(&[&issuer[..], &enabled, &["--set", &wrong]].concat(), &[]);
        assert!(!is_printed && !told.contains(PLANTED), "{wrong}: {told}");
    }
}
