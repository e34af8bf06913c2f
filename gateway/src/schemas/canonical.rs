//! Telling whether two Avro schemas are the same: as in the parsing canonical form of the specification
//! (avro.apache.org, "Parsing Canonical Form for Schemas"), what decides nothing about the bytes is left out
//! (documentation, logical types, the order of keys) and every name is written in full.

use serde_json::{Map, Value, json};

/// Schemas within schemas beyond this are cut off; ours have four levels.
const MAX_DEPTH: usize = 64;

/// The part of a schema that decides about bytes.
pub fn of(schema: &Value) -> Value {
    within(schema, "", MAX_DEPTH)
}

fn within(schema: &Value, namespace: &str, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    match schema {
        Value::String(name) => named(name, namespace).into(),
        Value::Array(branches) => branches.iter().map(|branch| within(branch, namespace, depth)).collect(),
        Value::Object(object) => complex(object, namespace, depth),
        other => other.clone(),
    }
}

fn complex(object: &Map<String, Value>, namespace: &str, depth: usize) -> Value {
    let get = |key: &str| object.get(key).unwrap_or(&Value::Null);
    let own = get("namespace").as_str().unwrap_or(namespace);
    let name = full(get("name").as_str().unwrap_or_default(), own);
    let inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
    match get("type").as_str() {
        Some("record") => {
            let field = |field: &Value| json!({"name": field["name"], "type": within(&field["type"], inner, depth)});
            let fields: Vec<_> = get("fields").as_array().into_iter().flatten().map(field).collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
        Some("enum") => json!({"type": "enum", "name": name, "symbols": get("symbols")}),
        Some("fixed") => json!({"type": "fixed", "name": name, "size": get("size")}),
        Some("array") => json!({"type": "array", "items": within(get("items"), namespace, depth)}),
        Some("map") => json!({"type": "map", "values": within(get("values"), namespace, depth)}),
        // A primitive in its long form, or a schema within one.
        _ => within(get("type"), namespace, depth),
    }
}

/// A name that refers to a type: primitives have no namespace.
fn named(name: &str, namespace: &str) -> String {
    const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    if PRIMITIVES.contains(&name) { name.to_owned() } else { full(name, namespace) }
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_the_same_whatever_is_said_about_them() {
        let short = json!({"type": "record", "name": "a.R", "fields": [{"name": "x", "type": "long"}]});
        let long = json!({"fields": [{"doc": "?", "type": {"logicalType": "timestamp-micros", "type": "long"},
            "name": "x"}], "namespace": "a", "doc": "more", "name": "R", "type": "record"});
        assert_eq!(of(&short), of(&long));
        let other = json!({"type": "record", "name": "a.R", "fields": [{"name": "x", "type": "int"}]});
        assert_ne!(of(&short), of(&other));
    }

    #[test]
    fn a_schema_without_end_ends() {
        let deep = (0..1000).fold(json!("long"), |inner, _| json!({"type": inner}));
        assert_ne!(of(&deep), of(&json!("long")));
    }
}
