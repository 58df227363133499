use std::collections::BTreeSet;

use super::*;

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_ascii_uppercase()), operation))
    })
}

/// The places that all references of a value name.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// A route that is not in the document, and a description of none, fail here.
#[test]
fn every_route_is_described_and_nothing_else() {
    let table = route_table();
    let document = complete(&table);
    let documented: BTreeSet<String> = operations(&document).map(|(line, _)| line).collect();
    let routes = table.iter().map(|route| format!("{} {}", route.method, route.path));
    assert_eq!(documented, routes.collect());

    let mut described: BTreeSet<String> =
        operations(&serde_json::from_str(DESCRIBED).unwrap()).map(|(line, _)| line).collect();
    for route in &table {
        described.remove(&format!("{} {}", route.method, described_as(&route.path).0));
    }
    assert_eq!(described, BTreeSet::new());
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_of_use() {
    let document = complete(&route_table());
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
    let components = document["components"].as_object().unwrap();
    for (kind, named) in components.iter().filter(|(kind, _)| *kind != "securitySchemes") {
        for name in named.as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_every_status_of_the_table_an_answer() {
    let document = complete(&route_table());
    let mut names = BTreeSet::new();
    for (line, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(!name.is_empty() && names.insert(name), "{line}: {name}");
        let answered = operation["responses"].as_object().unwrap();
        assert!(answered.contains_key("200"), "{line}");
    }
    let refused = document["components"]["responses"].as_object().unwrap();
    for kind in adulis_types::ErrorKind::ALL {
        let status = adulis_protocol::status::http_status(kind).to_string();
        assert!(refused.contains_key(&status), "{status}");
    }
}

/// One line for each route: what it does, the scope that it needs, its media types, and its statuses.
#[test]
fn routes_with_their_scopes_and_statuses() {
    let document = complete(&route_table());
    let keys = |value: &Value| value.as_object().map(|it| it.keys().cloned().collect()).unwrap_or_default();
    let lines = operations(&document).map(|(line, operation)| {
        let statuses: Vec<String> = keys(&operation["responses"]);
        let scope = operation["security"].as_array().unwrap().last().unwrap()["certificate"][0].as_str();
        let open = operation["security"][0] == json!({});
        format!(
            "{line} {} {}{} {}",
            operation["operationId"].as_str().unwrap(),
            scope.unwrap(),
            if open { " (open)" } else { "" },
            statuses.join(",")
        )
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
