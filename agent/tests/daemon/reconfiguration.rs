//! What an agent is not allowed to come back as, and what becomes of its task meanwhile.

use super::*;
use tepui_agent::ReconfigurationPolicy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_an_id_comes_back_as_it_was_or_larger() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let sized = |text: &str, policy| Config {
        resources: tepui_agent::parse_resources(text).unwrap(),
        reconfiguration_policy: policy,
        ..config(&master, folder.path())
    };
    use ReconfigurationPolicy::{Additive, Any, Equal};
    let (small, usual) = ("cpus:1;mem:512;disk:100", "cpus:2;mem:512;disk:100");
    let large = "cpus:4;mem:512;disk:100;gizmos:{a}";
    let configs = [
        sized(usual, Equal),
        sized(large, Equal),
        sized(small, Additive),
        sized(large, Additive),
        sized(large, Equal),
        sized(small, Any),
    ];
    let [first, grown, shrunk, allowed, again, any] = &configs;

    let agent = Agent::start(first.clone()).await.unwrap();
    assert_eq!(master.admit().await.agent.id, None);
    master.run(shell("long", "exec sleep 1000")).await;
    master.until("long", TaskRunning).await;
    agent.shutdown().await.unwrap();

    for (config, expected) in [
        (
            grown,
            "--reconfiguration_policy=equal does not allow: the resource cpus:2 is now cpus:4, the resource gizmos:{a} is new. Start",
        ),
        (
            shrunk,
            "--reconfiguration_policy=additive does not allow: the resource cpus:2 is now cpus:1. Start",
        ),
    ] {
        let error = Agent::start(config.clone()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let meta = folder.path().join("meta").display().to_string();
        assert!(
            error.contains(&format!("remove {meta} to start")),
            "{error}"
        );
    }

    // What was refused has left nothing behind. What was allowed is what counts from then on.
    for config in [first, allowed, again, any] {
        let agent = Agent::start(config.clone()).await.unwrap();
        let register = master.admit().await;
        assert_eq!(register.agent.id.unwrap().value, "S0");
        assert_eq!(register.agent.resources, config.resources);
        let tasks: Vec<_> = register.tasks.iter().collect();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        agent.shutdown().await.unwrap();
    }
    let error = Agent::start(first.clone()).await.unwrap_err().to_string();
    assert!(
        error.contains("the resource cpus:1 is now cpus:2"),
        "{error}"
    );

    std::fs::remove_dir_all(folder.path().join("meta")).unwrap();
    let agent = Agent::start(first.clone()).await.unwrap();
    let register = master.admit().await;
    assert_eq!((register.agent.id, register.tasks.len()), (None, 0));
    sweep(first, agent).await;
}
