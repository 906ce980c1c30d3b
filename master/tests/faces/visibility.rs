//! What is shown to whom: offer constraints from SUBSCRIBE to the endpoint that explains them, and the whitelist's file.

use serde_json::json;

use crate::support::{FakeAgent, Subscription, get, master, master_with};

fn subscribe(regex: &str) -> String {
    json!({
        "type": "SUBSCRIBE",
        "subscribe": {
            "framework_info": { "user": "nobody", "name": "picky" },
            "offer_constraints": { "role_constraints": { "*": { "groups": [{
                "attribute_constraints": [{
                    "selector": { "pseudoattribute_type": "HOSTNAME" },
                    "predicate": { "text_matches": { "regex": regex } },
                }],
            }] } } },
        },
    })
    .to_string()
}

#[tokio::test]
async fn agents_that_constraints_exclude_are_not_offered_and_are_named() {
    let master = master().await;
    let hidden = FakeAgent::start(&master, 4.0, "web-1", 5051).await;
    let shown = FakeAgent::start(&master, 4.0, "db-1", 5052).await;
    let mut framework = Subscription::with(&master, &subscribe(r"db-\d+")).await;
    let offers = framework.until("OFFERS").await;
    let offers = offers["offers"]["offers"].as_array().expect("a list");
    assert_eq!(offers.len(), 1, "{offers:?}");
    assert_eq!(offers[0]["agent_id"]["value"], shown.id.as_str());
    for path in [
        "/hierarchical-allocator(1)/offer_constraints_debug",
        "/hierarchical-allocator(1)/offer_constraints_debug/",
    ] {
        let answer = get(&master, path).await.json();
        let expected = json!({ "frameworks": { framework.framework_id.as_str(): {
            "suppressed_roles": [],
            "excluded_by_attribute_constraints": { "*": [hidden.id.as_str()] },
        } } });
        assert_eq!(answer, expected);
    }
    master.shutdown().await;
}

#[tokio::test]
async fn agents_that_are_not_on_the_whitelist_are_not_offered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agents");
    std::fs::write(&path, "db-1\n").expect("written");
    let master = master_with(|config| config.whitelist = Some(path.clone())).await;
    let _hidden = FakeAgent::start(&master, 4.0, "web-1", 5051).await;
    let mut framework = Subscription::open(&master, "any").await;
    let shown = FakeAgent::start(&master, 4.0, "db-1", 5052).await;
    let offers = framework.until("OFFERS").await;
    let offers = offers["offers"]["offers"].as_array().expect("a list");
    assert_eq!(offers.len(), 1, "{offers:?}");
    assert_eq!(offers[0]["agent_id"]["value"], shown.id.as_str());
    // The file is looked at again, and is whole at any time.
    let new = directory.path().join("agents.new");
    std::fs::write(&new, "db-1\nweb-1\n").expect("written");
    std::fs::rename(&new, &path).expect("renamed");
    let offers = framework.until("OFFERS").await;
    assert_eq!(offers["offers"]["offers"][0]["hostname"], "web-1");
    master.shutdown().await;
}
