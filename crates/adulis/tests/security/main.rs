//! Attempts to get in, on the real binary over REST and gRPC: without credentials, with wrong, expired, revoked and narrower
//! ones, by requests that two servers would read differently, and a search for secrets in all that the server tells.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod audit;
mod certificates;
mod everywhere;
mod identities;
mod injection;
mod keys;
mod secrets;
mod smuggling;
#[path = "../support/mod.rs"]
mod support;
mod tenants;
mod tokens;

use std::path::Path;
use std::process::{Command, Output};

use adulis_testing::{RawResponse, TestRepository, TestServer};
use support::{BINARY, byte_json, byte_message, byte_model, infer_raw, serve};
use tempfile::TempDir;

/// A server that asks who is who, and the store with its keys.
pub(crate) struct Guarded {
    pub(crate) server: TestServer,
    pub(crate) folder: TempDir,
    _repository: TestRepository,
}

/// What is not set otherwise: it is found out soon that a key was revoked.
const TTL: &str = "auth.ttl=200ms";

impl Guarded {
    pub(crate) async fn start(configuration: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, configuration, arguments).await
    }

    pub(crate) async fn start_in(folder: TempDir, configuration: &str, arguments: &[&str]) -> Self {
        let repository = TestRepository::new().unwrap();
        for model in ["digits", "team-a-x", "team-b-x"] {
            repository.identity(model, &byte_model(&[])).unwrap();
        }
        let file = folder.path().join("adulis.toml");
        std::fs::write(&file, configuration).unwrap();
        let (file, url) = (file.display().to_string(), store(folder.path()));
        let own = [
            "--config",
            &file,
            "--set",
            &url,
            "--set",
            "auth.enabled=true",
            "--set",
            TTL,
        ];
        let own = [
            &own[..],
            &["--model-control-mode", "explicit", "--load-model", "*"],
            arguments,
        ]
        .concat();
        let server = serve(&repository, &own);
        let is_closed = arguments.iter().any(|argument| argument.starts_with("auth.anonymous"));
        if is_closed || configuration.contains("[tls]") {
            // Nobody is told whether it is ready, or not in plain HTTP.
            server.logged(&["\"ready\""]).await;
        } else {
            server.ready().await;
        }
        Self { server, folder, _repository: repository }
    }

    /// Makes a key with these arguments, and returns its id and secret.
    pub(crate) fn key(&self, arguments: &[&str]) -> (String, String) {
        let output = self.keys(&[&["create", "test", "--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// `adulis keys` on the same store.
    pub(crate) fn keys(&self, arguments: &[&str]) -> Output {
        keys(self.folder.path(), arguments)
    }

    /// The statuses of an inference over REST and gRPC with these headers.
    pub(crate) async fn infer(&self, model: &str, headers: &[(&str, &str)]) -> (u16, i32) {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let rest = self.server.infer(model, &lines, &byte_json(7)).await.unwrap();
        let (grpc, _) = infer_raw(&self.server, headers, &byte_message(model, 7)).await;
        (rest.status, grpc)
    }

    /// A request with a key.
    pub(crate) async fn ask(&self, line: &str, key: &str, body: &str) -> RawResponse {
        let header = format!("authorization: Bearer {key}");
        let mut connection = self.server.connect().await.unwrap();
        connection.request(line, &[&header], body.as_bytes()).await.unwrap()
    }
}

/// Where the store of a folder is, as a setting.
pub(crate) fn store(folder: &Path) -> String {
    format!("store.url=sqlite:{}", folder.join("adulis.db").display())
}

pub(crate) fn keys(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder)
        .env("USER", "somebody-else")
        .args(["keys", "--set", &store(folder)]);
    command.args(arguments).output().unwrap()
}

/// What both protocols say to credentials that are wrong, and to those that do not suffice.
pub(crate) const UNAUTHENTICATED: (u16, i32) = (401, 16);
pub(crate) const DENIED: (u16, i32) = (403, 7);
pub(crate) const OK: (u16, i32) = (200, 0);
