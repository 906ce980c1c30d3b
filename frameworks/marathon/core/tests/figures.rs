//! What is told for metrics, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Behaviour, Cluster};
use tepui_marathon_core::view::KillFigures;

#[test]
fn kills_that_are_under_way_are_counted_until_their_end_is_heard_of() {
    let figures = |in_flight, attempts, overdue| KillFigures {
        in_flight,
        attempts,
        overdue,
    };
    let mut cluster = Cluster::new(1);
    let hangs = Behaviour::Hangs;
    cluster.behaviour.insert("hang".to_owned(), hangs);
    cluster.create(r#"{"id":"/a","cmd":"hang","cpus":0.1,"mem":1,"instances":2}"#);
    cluster.create(r#"{"id":"/b","cmd":"run","cpus":0.1,"mem":1}"#);
    cluster.pass(299);
    assert_eq!(cluster.view.kills(), figures(0, 0, 0));
    // The launch takes too long, and the agent does not do as it is told.
    cluster.agents[0].alive = false;
    cluster.pass(2);
    assert_eq!(cluster.view.kills(), figures(2, 2, 2));
    cluster.call(cluster::delete("/b"));
    cluster.run();
    assert_eq!(cluster.view.kills(), figures(3, 3, 2));
    cluster.pass(31);
    assert_eq!(cluster.view.kills(), figures(3, 6, 2));
    cluster.agents[0].alive = true;
    cluster.pass(31);
    assert_eq!(cluster.view.kills(), figures(0, 0, 0));
}
