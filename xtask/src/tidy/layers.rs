//! Dependencies point down: between our crates by layer, and to the crates that only one of ours may name.

use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata};

use super::Fault;
use crate::workspace;

/// Every crate of the workspace and its layer. A crate depends on lower layers only.
const LAYERS: [(&str, Layer); 29] = [
    ("adulis-tensor", Layer::At(0)),
    ("adulis-types", Layer::At(0)),
    ("adulis-retry", Layer::At(0)),
    ("adulis-telemetry", Layer::At(1)),
    ("adulis-repository", Layer::At(1)),
    ("adulis-backend", Layer::At(1)),
    ("adulis-batcher", Layer::At(1)),
    ("adulis-cache", Layer::At(1)),
    ("adulis-shared-memory", Layer::At(1)),
    ("adulis-pool", Layer::At(1)),
    ("adulis-store", Layer::At(1)),
    ("adulis-security", Layer::At(1)),
    ("adulis-tls", Layer::At(1)),
    ("adulis-quota", Layer::At(1)),
    ("adulis-onnx", Layer::At(2)),
    ("adulis-tract", Layer::At(2)),
    ("adulis-worker", Layer::At(2)),
    ("adulis-storage", Layer::At(2)),
    ("adulis-engine", Layer::At(2)),
    ("adulis-protocol", Layer::At(2)),
    ("adulis-http", Layer::At(3)),
    ("adulis-grpc", Layer::At(3)),
    ("adulis-bench", Layer::At(3)),
    ("adulis", Layer::At(4)),
    ("adulis-testing", Layer::TestsOnly),
    ("adulis-fuzzing", Layer::Outside),
    ("adulis-baseline", Layer::Outside),
    ("embed", Layer::Outside),
    ("xtask", Layer::Outside),
];

/// Arrows inside a layer: from the first to the second, and nothing else.
const SAME_LAYER: [(&str, &str); 9] = [
    ("adulis-types", "adulis-tensor"),
    ("adulis-cache", "adulis-pool"),
    ("adulis-pool", "adulis-telemetry"),
    ("adulis-store", "adulis-pool"),
    ("adulis-store", "adulis-telemetry"),
    ("adulis-quota", "adulis-pool"),
    ("adulis-quota", "adulis-telemetry"),
    ("adulis-security", "adulis-telemetry"),
    ("adulis-tls", "adulis-telemetry"),
];

/// Third-party crates (with their `name-*` companions) that only these crates of ours may name.
const OWNED: [(&str, &[&str]); 13] = [
    ("backon", &["adulis-retry"]),
    ("axum", &["adulis-http", "adulis-baseline", "embed"]),
    ("tonic", &["adulis-protocol", "adulis-grpc", "adulis-baseline", "xtask"]),
    ("ort", &["adulis-onnx"]),
    ("tract", &["adulis-tract"]),
    ("object_store", &["adulis-storage"]),
    ("redis", &["adulis-pool"]),
    ("async-memcached", &["adulis-pool"]),
    ("deadpool", &["adulis-pool"]),
    ("sqlx", &["adulis-store"]),
    ("parquet", &["adulis-store"]),
    ("tokio-rustls", &["adulis-tls", "adulis-testing"]),
    ("x509-parser", &["adulis-tls"]),
];

/// Measures with the servers that tests start: no more a part of the product than tests are.
const MEASURES: &str = "xtask";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    At(u8),
    /// Named in dev-dependencies only, and by what measures.
    TestsOnly,
    /// Nothing depends on it; it may depend on anything.
    Outside,
}

/// The crates of the workspace with what they depend on.
pub(super) struct Graph(Vec<Node>);

struct Node {
    name: String,
    /// Names of dependencies of all kinds but dev: tests may look at anything.
    dependencies: Vec<String>,
}

impl Graph {
    /// Reads the workspace's graph from Cargo.
    pub(super) fn read() -> Result<Self> {
        Ok(Self::from(&workspace::metadata()?))
    }
}

impl From<&Metadata> for Graph {
    fn from(metadata: &Metadata) -> Self {
        let node = |package: &cargo_metadata::Package| {
            let built = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
            Node {
                name: package.name.to_string(),
                dependencies: built.map(|d| d.name.clone()).collect(),
            }
        };
        Self(metadata.packages.iter().map(node).collect())
    }
}

/// Checks every arrow, and that the table of layers names every crate and no other.
pub(super) fn check(graph: &Graph) -> Vec<Fault> {
    let mut messages = Vec::new();
    for Node { name, dependencies } in &graph.0 {
        if layer(name).is_none() {
            messages.push(format!("{name} is in no layer: add it to LAYERS"));
        }
        messages.extend(dependencies.iter().filter_map(|to| arrow(name, to)));
        messages.extend(dependencies.iter().filter_map(|to| ownership(name, to)));
    }
    let known = |name: &str| graph.0.iter().any(|node| node.name == name);
    let gone = LAYERS.iter().filter(|(name, _)| !known(name));
    messages.extend(gone.map(|(name, _)| format!("{name} is in LAYERS and not in the workspace")));
    messages
        .into_iter()
        .map(|message| Fault::in_file("xtask/src/tidy/layers.rs", message))
        .collect()
}

fn layer(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

fn arrow(from: &str, to: &str) -> Option<String> {
    let fault = |why: &str| Some(format!("{from} depends on {to}, {why}"));
    match (layer(from)?, layer(to)?) {
        (_, Layer::TestsOnly) if from != MEASURES => fault("which belongs in dev-dependencies"),
        (_, Layer::Outside) => fault("on which nothing depends"),
        (Layer::At(low), Layer::At(high)) if low < high => fault("which is in a higher layer"),
        (Layer::At(a), Layer::At(b)) if a == b && !SAME_LAYER.contains(&(from, to)) => {
            fault("which is in the same layer, and SAME_LAYER doesn't list it")
        }
        _ => None,
    }
}

fn ownership(from: &str, to: &str) -> Option<String> {
    let is_of =
        |family: &str| to.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let (_, owners) = OWNED.iter().find(|(family, _)| is_of(family))?;
    let allowed = owners.contains(&from);
    (!allowed).then(|| format!("{from} names {to}, which only {} may", owners.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All crates of the table, without dependencies but these.
    fn messages(arrows: &[(&str, &str)]) -> Vec<String> {
        let dependencies = |name: &str| {
            arrows.iter().filter(|(from, _)| *from == name).map(|(_, to)| (*to).to_owned()).collect()
        };
        let node = |name: &str| Node { name: name.to_owned(), dependencies: dependencies(name) };
        let extra = arrows.iter().map(|(from, _)| *from).filter(|from| layer(from).is_none());
        let names = LAYERS.iter().map(|(name, _)| *name).chain(extra);
        check(&Graph(names.map(node).collect())).into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn downward_arrows_pass() {
        let none: [String; 0] = [];
        assert_eq!(messages(&[("adulis-http", "adulis-tensor"), ("adulis", "adulis-http")]), none);
        assert_eq!(messages(&[("adulis-types", "adulis-tensor"), ("adulis-http", "axum")]), none);
        assert_eq!(messages(&[("adulis-http", "tower"), ("adulis-onnx", "ort")]), none);
    }

    #[test]
    fn an_upward_arrow_fails() {
        let found = messages(&[("adulis-engine", "adulis-http")]);
        assert_eq!(found, ["adulis-engine depends on adulis-http, which is in a higher layer"]);
    }

    #[test]
    fn an_unlisted_arrow_inside_a_layer_fails() {
        assert!(messages(&[("adulis-engine", "adulis-onnx")])[0].contains("same layer"));
        assert!(messages(&[("adulis-tensor", "adulis-types")])[0].contains("same layer"));
    }

    #[test]
    fn test_support_outside_of_tests_fails() {
        for from in ["adulis-engine", "adulis-baseline"] {
            assert!(messages(&[(from, "adulis-testing")])[0].contains("dev-dependencies"), "{from}");
        }
        assert!(messages(&[("xtask", "adulis-testing")]).is_empty());
        assert!(messages(&[("adulis", "xtask")])[0].contains("nothing depends"));
    }

    #[test]
    fn a_crate_in_no_layer_and_a_layer_without_its_crate_fail() {
        assert!(messages(&[("adulis-new", "bytes")])[0].contains("adulis-new is in no layer"));
        let faults = check(&Graph(Vec::new()));
        assert!(faults.len() == LAYERS.len() && faults[0].message.contains("not in the workspace"));
    }

    #[test]
    fn naming_an_owned_crate_fails() {
        let cases = [
            ("adulis-engine", "ort"),
            ("adulis-engine", "ort-sys"),
            ("adulis-onnx", "tract-onnx"),
            ("adulis", "axum"),
            ("adulis-http", "tonic"),
            ("adulis-repository", "tonic-prost-build"),
        ];
        for case in cases {
            assert!(messages(&[case])[0].contains("which only"), "{case:?}");
        }
    }

    #[test]
    fn the_graph_of_this_workspace_is_read() {
        let graph = Graph::read().unwrap();
        let xtask = graph.0.iter().find(|node| node.name == "xtask").unwrap();
        assert!(xtask.dependencies.contains(&"cargo_metadata".to_owned()));
    }
}
