//! Both encodings, both ways, and every refusal.

use super::*;
use crate::json;

fn wire(text: &str) -> mesos::Resource {
    json::from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn text(resource: &mesos::Resource) -> String {
    String::from_utf8(json::to_vec(resource)).expect("JSON is UTF-8")
}

/// `other` is read as the same resource as `stack`; written, it is `stack` or `role`.
#[track_caller]
fn same(other: &str, stack: &str, role: &str) {
    let resource = one_from_wire(&wire(other)).unwrap_or_else(|error| panic!("{other}: {error}"));
    assert_eq!(text(&one_to_wire(&resource, Encoding::Stack)), stack);
    assert_eq!(text(&one_to_wire(&resource, Encoding::Role)), role);
    for written in [stack, role] {
        assert_eq!(
            one_from_wire(&wire(written)),
            Ok(resource.clone()),
            "{written}"
        );
    }
}

#[test]
fn values() {
    same(
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.12345}}"#,
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.123}}"#,
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.123},"role":"*"}"#,
    );
    same(
        r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":5,"end":9},{"begin":1,"end":4}]},"role":"*"}"#,
        r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":9}]}}"#,
        r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":9}]},"role":"*"}"#,
    );
    same(
        r#"{"name":"x","type":"SET","set":{"item":["b","a"]},"allocation_info":{"role":"r"},"revocable":{}}"#,
        r#"{"name":"x","type":"SET","set":{"item":["a","b"]},"allocation_info":{"role":"r"},"revocable":{}}"#,
        r#"{"name":"x","type":"SET","set":{"item":["a","b"]},"role":"*","allocation_info":{"role":"r"},"revocable":{}}"#,
    );
}

#[test]
fn reservations() {
    let scalar = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}"#;
    same(
        &format!(r#"{scalar},"role":"eng"}}"#),
        &format!(r#"{scalar},"reservations":[{{"type":"STATIC","role":"eng"}}]}}"#),
        &format!(r#"{scalar},"role":"eng"}}"#),
    );
    let labels = r#""principal":"p","labels":{"labels":[{"key":"k","value":"v"},{"key":"l"}]}"#;
    same(
        &format!(r#"{scalar},"role":"eng","reservation":{{{labels}}}}}"#),
        &format!(r#"{scalar},"reservations":[{{"type":"DYNAMIC","role":"eng",{labels}}}]}}"#),
        &format!(r#"{scalar},"role":"eng","reservation":{{{labels}}}}}"#),
    );
    let refined = format!(
        r#"{scalar},"reservations":[{{"type":"STATIC","role":"eng"}},{{"type":"DYNAMIC","role":"eng/a","principal":"p"}}]}}"#
    );
    same(&refined, &refined, &refined);
}

#[test]
fn disks() {
    let disk = r#"{"name":"disk","type":"SCALAR","scalar":{"value":64.0}"#;
    let volume = r#""persistence":{"id":"v1","principal":"p"},"volume":{"mode":"RW","container_path":"data"}"#;
    let source = r#""source":{"type":"MOUNT","mount":{"root":"/mnt/a"},"vendor":"x.y","id":"7","metadata":{"labels":[{"key":"k"}]},"profile":"fast"}"#;
    let reserved = r#""reservations":[{"type":"DYNAMIC","role":"r"}]"#;
    same(
        &format!(
            r#"{{"provider_id":{{"value":"rp"}},{},{reserved},"disk":{{{volume},{source}}},"shared":{{}}}}"#,
            &disk[1..]
        ),
        &format!(
            r#"{{"provider_id":{{"value":"rp"}},{},{reserved},"disk":{{{volume},{source}}},"shared":{{}}}}"#,
            &disk[1..]
        ),
        &format!(
            r#"{{"provider_id":{{"value":"rp"}},{},"role":"r","reservation":{{}},"disk":{{{volume},{source}}},"shared":{{}}}}"#,
            &disk[1..]
        ),
    );
    for kind in ["PATH", "BLOCK", "RAW"] {
        let text = format!(r#"{disk},"disk":{{"source":{{"type":"{kind}"}}}}}}"#);
        let resource =
            one_from_wire(&wire(&text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            one_from_wire(&one_to_wire(&resource, Encoding::Stack)),
            Ok(resource)
        );
    }
}

#[test]
fn what_is_not_well_formed() {
    let scalar = r#""type":"SCALAR","scalar":{"value":1}"#;
    for (fields, problem) in [
        (r#""name":"","type":"SCALAR","scalar":{"value":1}"#.to_owned(), "Empty resource name"),
        (r#""name":"x","type":"TEXT""#.to_owned(), "Unsupported resource type"),
        (r#""name":"x","type":"SCALAR""#.to_owned(), "Invalid scalar resource: exactly the value field of its type must be set"),
        (format!(r#""name":"x",{scalar},"set":{{}}"#), "Invalid scalar resource: exactly the value field of its type must be set"),
        (r#""name":"x","type":"RANGES","set":{}"#.to_owned(), "Invalid ranges resource: exactly the value field of its type must be set"),
        (r#""name":"x","type":"SET","scalar":{"value":1}"#.to_owned(), "Invalid set resource: exactly the value field of its type must be set"),
        (r#""name":"x","type":"SET","set":{"item":["a","a"]}"#.to_owned(), "duplicated"),
        (r#""name":"x","type":"RANGES","ranges":{"range":[{"begin":2,"end":1}]}"#.to_owned(), "begin"),
        (r#""name":"x","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":5,"end":6}]}"#.to_owned(), "overlapping"),
        (r#""name":"cpus","type":"SCALAR","scalar":{"value":-1}"#.to_owned(), "scalar"),
        (r#""name":"cpus","type":"SCALAR","scalar":{"value":0.0001}"#.to_owned(), "scalar"),
        (r#""name":"cpus","type":"SCALAR","scalar":{"value":Infinity}"#.to_owned(), "scalar"),
        (r#""name":"cpus","type":"SET","set":{"item":["a"]}"#.to_owned(), "SCALAR"),
        (format!(r#""name":"x",{scalar},"role":"a b""#), "white space"),
        (format!(r#""name":"x",{scalar},"reservation":{{}}"#), "role \"*\" cannot be dynamically reserved"),
        (format!(r#""name":"x",{scalar},"role":"*","reservation":{{}}"#), "role \"*\" cannot be dynamically reserved"),
        (format!(r#""name":"x",{scalar},"role":"a","reservation":{{"role":"a"}}"#), "must not be set with"),
        (format!(r#""name":"x",{scalar},"role":"a","reservations":[{{"type":"STATIC","role":"a"}}]"#), "must not be set together"),
        (format!(r#""name":"x",{scalar},"reservations":[{{"type":"STATIC"}}]"#), "'role' must be set"),
        (format!(r#""name":"x",{scalar},"reservations":[{{"role":"a"}}]"#), "'type' must be STATIC or DYNAMIC"),
        (format!(r#""name":"x",{scalar},"reservations":[{{"type":"DYNAMIC","role":"*"}}]"#), "cannot be reserved"),
        (format!(r#""name":"x",{scalar},"reservations":[{{"type":"STATIC","role":"a"}},{{"type":"STATIC","role":"a/b"}}]"#), "STATIC"),
        (format!(r#""name":"x",{scalar},"reservations":[{{"type":"STATIC","role":"a"}},{{"type":"DYNAMIC","role":"b"}}]"#), "refinement"),
        (format!(r#""name":"x",{scalar},"disk":{{}}"#), "DiskInfo"),
        (format!(r#""name":"x",{scalar},"shared":{{}}"#), "shared"),
        (format!(r#""name":"x",{scalar},"provider_id":{{"value":""}}"#), "ID must not be empty"),
        (format!(r#""name":"disk",{scalar},"disk":{{"persistence":{{"id":"v"}}}}"#), "Expecting 'volume'"),
        (format!(r#""name":"disk",{scalar},"disk":{{"volume":{{"mode":"RW","container_path":"a"}}}}"#), "Non-persistent volume"),
        (format!(r#""name":"disk",{scalar},"disk":{{"persistence":{{"id":"v"}},"volume":{{"mode":"RW","container_path":"a","host_path":"/"}}}}"#), "'host_path'"),
        (format!(r#""name":"disk",{scalar},"disk":{{"persistence":{{"id":"a/b"}},"volume":{{"mode":"RW","container_path":"a"}}}}"#), "invalid characters"),
        (format!(r#""name":"disk",{scalar},"disk":{{"source":{{"type":"UNKNOWN"}}}}"#), "DiskInfo.Source.Type"),
    ] {
        let resource = wire(&format!("{{{fields}}}"));
        match from_wire(std::slice::from_ref(&resource)) {
            Ok(resources) => panic!("{fields} was taken: {resources}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with(&format!("Resource '{}' is invalid: ", resource.name)), "{text}");
                assert!(text.contains(problem), "{fields}: {text}");
            }
        }
    }
    let nan = mesos::Resource {
        scalar: Some(value::Scalar { value: f64::NAN }),
        ..wire(r#"{"name":"x","type":"SCALAR"}"#)
    };
    assert!(one_from_wire(&nan).is_err());
}

#[test]
fn lists_add_up() {
    let list = [
        wire(
            r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.5},"allocation_info":{"role":"r"}}"#,
        ),
        wire(
            r#"{"name":"mem","type":"SCALAR","scalar":{"value":0},"allocation_info":{"role":"r"}}"#,
        ),
        wire(
            r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"role":"*","allocation_info":{"role":"r"}}"#,
        ),
        wire(
            r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"s"}}"#,
        ),
    ];
    let resources = from_wire(&list).expect("all are well formed");
    assert_eq!(
        resources.to_string(),
        "cpus(allocated: r):1.6; cpus(allocated: s):1"
    );
    assert_eq!(
        from_wire(&to_wire(&resources, Encoding::Role)),
        Ok(resources)
    );
}

#[test]
fn flags() {
    let json = r#" [{"name":"cpus","type":"SCALAR","scalar":{"value":2}},
        {"name":"ports","type":"RANGES","ranges":{"range":{"begin":1,"end":2}},"role":"a"}] "#;
    assert_eq!(from_flag(json), from_flag("cpus:2;ports(a):[1-2]"));
    assert_eq!(
        from_flag("cpus:2")
            .map(|resources| resources.to_string())
            .as_deref(),
        Ok("cpus:2")
    );
    for (bad, why) in [
        ("cpus", "expected name:value"),
        (
            "[{}]",
            "Missing required fields: resources[0].name, resources[0].type",
        ),
        ("[", "syntax error"),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":-2}}]"#,
            "Resource 'cpus' is invalid",
        ),
    ] {
        let error = from_flag(bad).expect_err(bad);
        assert!(error.contains(why), "{bad}: {error}");
    }
}
