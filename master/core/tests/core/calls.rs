//! Calls that are refused at once, and change nothing.

use tepui_master_core::{CallOrigin, Input, Reply};

use crate::cluster::{Cluster, Scheduler};

fn http(stream_id: Option<&str>) -> CallOrigin {
    CallOrigin::Http {
        stream_id: stream_id.map(Into::into),
    }
}

fn refused(status: u16, message: &str) -> Reply {
    Reply::Refused {
        status,
        message: message.to_owned(),
    }
}

#[test]
fn the_order_of_checks() {
    let mut cluster = Cluster::new();
    let Scheduler {
        id,
        stream,
        http_stream_id,
    } = cluster.scheduler("a");
    let other = cluster.scheduler("b");
    let own = http_stream_id.as_deref();
    let fw = format!(r#""framework_id":{{"value":"{id}"}}"#);
    let stale = format!(
        "The stream ID 'stale' included in this request didn't match the stream ID currently associated with framework ID {id}"
    );
    let invalid = |what: &str| refused(400, &format!("Failed to validate scheduler::Call: {what}"));
    let cases = [
        (
            http(own),
            "{}".to_owned(),
            invalid("Expecting 'type' to be present"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"UNKNOWN"}}"#),
            invalid("Expecting a known 'type'"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"ACCEPT"}}"#),
            invalid("Expecting 'accept' to be present"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"DECLINE"}}"#),
            invalid("Expecting 'decline' to be present"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"KILL"}}"#),
            invalid("Expecting 'kill' to be present"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"UPDATE_FRAMEWORK"}}"#),
            invalid("Expecting 'update_framework' to be present"),
        ),
        (
            http(own),
            format!(
                r#"{{{fw},"type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"a"}},"task_id":{{"value":"t"}},"uuid":"AAAA"}}}}"#
            ),
            invalid("Not a valid UUID"),
        ),
        (
            http(own),
            format!(
                r#"{{{fw},"type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"a"}},"task_id":{{"value":"t"}},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}}}}"#
            ),
            invalid("Not a valid UUID"),
        ),
        (
            http(own),
            r#"{"type":"REVIVE"}"#.to_owned(),
            invalid("Expecting 'framework_id' to be present"),
        ),
        (
            http(own),
            r#"{"type":"REVIVE","framework_id":{"value":"nobody"}}"#.to_owned(),
            refused(400, "Framework cannot be found"),
        ),
        (
            http(None),
            format!(r#"{{{fw},"type":"REVIVE"}}"#),
            refused(
                400,
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
            ),
        ),
        (
            http(Some("stale")),
            format!(r#"{{{fw},"type":"REVIVE"}}"#),
            refused(400, &stale),
        ),
        (
            CallOrigin::Stream(other.stream),
            format!(r#"{{{fw},"type":"REVIVE"}}"#),
            refused(403, "Framework is not subscribed on this stream"),
        ),
        (
            http(own),
            format!(
                r#"{{{fw},"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"u","name":"n"}}}}}}"#
            ),
            refused(400, "SUBSCRIBE must open a stream of its own"),
        ),
        (
            http(own),
            format!(r#"{{{fw},"type":"REVIVE"}}"#),
            Reply::Accepted,
        ),
        (
            CallOrigin::Stream(stream),
            format!(r#"{{{fw},"type":"REQUEST","request":{{}}}}"#),
            Reply::Accepted,
        ),
    ];
    for (origin, call, expected) in cases {
        assert_eq!(cluster.call_from(origin, &call), expected, "{call}");
    }
    cluster.send(Input::StreamClosed { stream });
    let call = format!(r#"{{{fw},"type":"REVIVE"}}"#);
    assert_eq!(
        cluster.call_from(http(own), &call),
        refused(403, "Framework is not subscribed")
    );
}

#[test]
fn the_stream_id_of_an_older_subscription_is_stale() {
    let mut cluster = Cluster::new();
    let old = cluster.scheduler("a");
    let new = cluster.resubscribe(&old);
    let call = format!(
        r#"{{"framework_id":{{"value":"{}"}},"type":"REVIVE"}}"#,
        old.id
    );
    assert!(matches!(
        cluster.call_from(http(old.http_stream_id.as_deref()), &call),
        Reply::Refused { status: 400, .. }
    ));
    assert_eq!(
        cluster.call_from(http(new.http_stream_id.as_deref()), &call),
        Reply::Accepted
    );
}

#[test]
fn update_framework_answers_by_its_outcome() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let info = |rest: &str| {
        format!(
            r#"{{"type":"UPDATE_FRAMEWORK","update_framework":{{"framework_info":{{"name":"new","id":{{"value":"{}"}},{rest}}}}}}}"#,
            scheduler.id
        )
    };
    let cases = [
        (info(r#""user":"other""#), refused(400, "Updating 'FrameworkInfo.user' is unsupported")),
        (info(r#""user":"u","checkpoint":true"#), refused(400, "Updating 'FrameworkInfo.checkpoint' is unsupported")),
        (info(r#""user":"u","principal":"p""#), refused(400, "Updating 'FrameworkInfo.principal' is unsupported")),
        (info(r#""user":"u","role":"-x""#), refused(400, "Role component '-x' of '-x' is invalid because it begins with a dash")),
        (
            r#"{"type":"UPDATE_FRAMEWORK","update_framework":{"framework_info":{"user":"u","name":"n"}}}"#.to_owned(),
            refused(400, "'framework_info.id' differs from 'framework_id'"),
        ),
        (info(r#""user":"u""#), Reply::Ok),
    ];
    for (call, expected) in cases {
        assert_eq!(cluster.call(&scheduler, &call), expected, "{call}");
    }
}
