//! Which ports containers listen on: Mesos' `network/ports`.
//!
//! With `--isolation=network/ports` the processes of every executor whose containers are in the machine's own network are looked at again and
//! again: on which ports they listen ([`listening`]), and whether its tasks have these ports. Who listens elsewhere is named in the log, once
//! for each set of ports, and with `--enforce_container_ports` it ends.
//!
//! What is left out: containers with a network of their own, which disturb nobody; UDP, as in Mesos. Mesos looks at version 4 of IP alone; here
//! version 6 counts too, since a socket for both is of that version.

mod listening;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::RwLock;
use tepui_agent_core::view::{ExecutorView, View};
use tepui_agent_core::{Input, Limitation, Limited};
use tepui_model::ContainerId;
use tepui_model::resources::Ranges;
use tepui_proto::convert::resources::{from_flag, from_wire};
use tepui_proto::mesos::v1::{Resource, value};
use tokio::sync::mpsc;

use crate::config::{ConfigError, parse_duration};
use crate::containerizer::{self, Containerizer};
use crate::containers;
use listening::Listening;

/// Looks are no closer to each other than this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The flags about ports.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct PortsFlags {
    /// Whether who listens on a port that it was not given ends; needs network/ports in --isolation
    #[arg(long, alias = "enforce-container-ports", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub enforce_container_ports: bool,
    /// Between two looks at the ports that containers listen on (at least a second)
    #[arg(
        long,
        alias = "container-ports-watch-interval",
        default_value = "30secs"
    )]
    pub container_ports_watch_interval: String,
    /// Whether only ports matter that are among the agent's resources
    #[arg(long, alias = "check-agent-port-range-only", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub check_agent_port_range_only: bool,
    /// The only ports that matter, such as '[1024-65535]' [default: all]
    #[arg(long, alias = "container-ports-isolated-range")]
    pub container_ports_isolated_range: Option<String>,
}

/// How it is looked at which ports containers listen on.
#[derive(Debug, Clone, PartialEq)]
pub struct PortsConfig {
    /// It is looked at.
    pub watch: bool,
    /// Who listens elsewhere ends, if it is looked at.
    pub enforce: bool,
    /// Between two looks.
    pub interval: Duration,
    /// The only ports that matter; `None`: all.
    pub only: Option<Ranges>,
}

impl Default for PortsConfig {
    fn default() -> Self {
        Self {
            watch: false,
            enforce: false,
            interval: Duration::from_secs(30),
            only: None,
        }
    }
}

impl PortsFlags {
    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            (
                "enforce_container_ports",
                self.enforce_container_ports.to_string(),
            ),
            (
                "container_ports_watch_interval",
                self.container_ports_watch_interval.clone(),
            ),
            (
                "check_agent_port_range_only",
                self.check_agent_port_range_only.to_string(),
            ),
        ];
        let only = self.container_ports_isolated_range.clone();
        all.extend(only.map(|only| ("container_ports_isolated_range", only)));
        all
    }
}

impl PortsConfig {
    /// Judges the flags. `isolation` is what `--isolation` lists, `resources` is what the agent has.
    pub(crate) fn from_flags(
        flags: &PortsFlags,
        isolation: &str,
        resources: &[Resource],
    ) -> Result<Self, ConfigError> {
        let invalid = |flag, value: &str, problem: &str| ConfigError::Invalid {
            flag,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let text = &flags.container_ports_watch_interval;
        let interval = parse_duration(text).ok_or_else(|| {
            let problem = "not a duration such as 10secs or 1.5mins";
            invalid("container_ports_watch_interval", text, problem)
        })?;
        let only = match &flags.container_ports_isolated_range {
            Some(text) if flags.check_agent_port_range_only => {
                let problem = "not together with --check_agent_port_range_only";
                return Err(invalid("container_ports_isolated_range", text, problem));
            }
            Some(text) => {
                let read = from_flag(&format!("ports:{text}"));
                let read = read.ok().filter(|read| !read.ports().is_empty());
                let problem = "not ranges such as [1024-65535]";
                let wrong = || invalid("container_ports_isolated_range", text, problem);
                Some(read.ok_or_else(wrong)?.ports())
            }
            None if flags.check_agent_port_range_only => Some(ports_of(resources.iter())),
            None => None,
        };
        let mut listed = isolation.split(',').map(str::trim);
        Ok(Self {
            watch: listed.any(|name| name == "network/ports"),
            enforce: flags.enforce_container_ports,
            interval,
            only,
        })
    }
}

/// The ports among resources.
fn ports_of<'a>(resources: impl Iterator<Item = &'a Resource>) -> Ranges {
    let mut ports = Ranges::new();
    for resource in resources.filter(|resource| resource.name == "ports") {
        // Whatever is no resource was refused before.
        if let Ok(read) = from_wire(std::slice::from_ref(resource)) {
            ports.union_with(&read.ports());
        }
    }
    ports
}

/// What is wrong with listening on these ports, if something is.
fn judge(
    container: &ContainerId,
    listens: &Ranges,
    given: &Ranges,
    only: Option<&Ranges>,
) -> Option<Limitation> {
    let mut others = listens.clone();
    others.subtract(given);
    if let Some(only) = only {
        others = others.intersection(only);
    }
    (!others.is_empty()).then(|| Limitation {
        of: Limited::Ports,
        message: format!("Container {container} is listening on unallocated port(s): {others}"),
        resources: vec![Resource {
            name: "ports".to_owned(),
            r#type: value::Type::Ranges.into(),
            ranges: Some(value::Ranges {
                range: others
                    .iter()
                    .map(|range| value::Range {
                        begin: range.begin,
                        end: range.end,
                    })
                    .collect(),
            }),
            role: Some("*".to_owned()),
            ..Default::default()
        }],
    })
}

/// What looks, and whom it tells.
pub(crate) struct Room {
    pub(crate) config: PortsConfig,
    pub(crate) view: Arc<RwLock<View>>,
    pub(crate) containerizer: Arc<Containerizer>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// What was wrong at the last look, by executors' containers. As many as executors were there.
type Told = HashMap<ContainerId, Limitation>;

/// Looks for as long as the agent lives; returns at once if nobody wants that, or nothing could be seen.
pub(crate) async fn run(room: Room) {
    if !room.config.watch {
        return;
    }
    if !room.containerizer.capabilities().cgroups {
        tracing::warn!(
            "nobody looks at the ports that containers listen on: which processes are theirs is known by cgroups, and none can be made on this machine"
        );
        return;
    }
    let room = Arc::new(room);
    let pause = room.config.interval.max(SHORTEST_INTERVAL);
    let mut told = Told::new();
    loop {
        tokio::time::sleep(pause).await;
        let looking = Arc::clone(&room);
        let found = tokio::task::spawn_blocking(move || looking.look()).await;
        let found = found.unwrap_or_default();
        for (container, limitation) in &found {
            if told.get(container) == Some(limitation) {
                continue;
            }
            tracing::info!("{}", limitation.message);
            if !room.config.enforce {
                continue;
            }
            let input = Input::Exceeded {
                container: container.clone(),
                limitation: limitation.clone(),
            };
            if room.inputs.send(input).await.is_err() {
                return;
            }
        }
        told = found;
    }
}

impl Room {
    /// Looks at all executors; gives those that listen where they must not.
    fn look(&self) -> Told {
        let executors: Vec<(ContainerId, Ranges, Vec<containerizer::ContainerId>)> = {
            let view = self.view.read();
            let all = view.frameworks.values();
            all.flat_map(|framework| framework.executors.values())
                .map(|executor| {
                    let id = executor.state.container.clone();
                    let all = containers::own(executor).into_iter();
                    let all = all.chain(containers::of_tasks(executor)).collect();
                    (id, given(executor), all)
                })
                .collect()
        };
        if executors.is_empty() {
            return Told::new();
        }
        let listening = match Listening::now() {
            Ok(listening) => listening,
            Err(error) => {
                tracing::warn!("cannot see who listens on which port: {error}");
                return Told::new();
            }
        };
        let judged = executors.into_iter().filter_map(|(id, given, containers)| {
            let mut listens = Ranges::new();
            for container in &containers {
                self.add(&listening, container, &mut listens);
            }
            let limitation = judge(&id, &listens, &given, self.config.only.as_ref())?;
            Some((id, limitation))
        });
        judged.collect()
    }

    /// Adds the ports on which a container listens in the machine's network. One that has ended meanwhile listens nowhere.
    fn add(
        &self,
        listening: &Listening,
        container: &containerizer::ContainerId,
        ports: &mut Ranges,
    ) {
        if !matches!(self.containerizer.network(container), Ok(None)) {
            return;
        }
        for pid in self.containerizer.processes(container).unwrap_or_default() {
            listening.of(pid, ports);
        }
    }
}

/// The ports of an executor and of its tasks; also of one that has ended a moment ago, whose executor may be about to close its socket.
fn given(executor: &ExecutorView) -> Ranges {
    let tasks = executor.tasks.values();
    let own = executor.state.info.resources.iter();
    ports_of(own.chain(tasks.flat_map(|task| task.info.resources.iter())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> PortsFlags {
        PortsFlags {
            container_ports_watch_interval: "2secs".to_owned(),
            ..PortsFlags::default()
        }
    }

    fn ports(text: &str) -> Ranges {
        from_flag(&format!("ports:{text}")).unwrap().ports()
    }

    fn resources(text: &str) -> Vec<Resource> {
        crate::parse_resources(text).unwrap()
    }

    #[test]
    fn ports_that_were_not_given_are_named() {
        let container: ContainerId = "c".parse().unwrap();
        let given = ports("[31000-31001]");
        let check = |listens: &str, only: Option<&str>| {
            let only = only.map(ports);
            judge(&container, &ports(listens), &given, only.as_ref())
        };
        assert_eq!(check("[31000-31000]", None), None);
        let found = check("[80-80, 31000-31002]", None).unwrap();
        assert_eq!(
            found.message,
            "Container c is listening on unallocated port(s): [80-80, 31002-31002]"
        );
        assert_eq!(
            ports_of(found.resources.iter()),
            ports("[80-80, 31002-31002]")
        );
        let found = check("[80-80, 31000-31002]", Some("[31000-32000]")).unwrap();
        assert_eq!(ports_of(found.resources.iter()), ports("[31002-31002]"));
        assert_eq!(check("[80-80]", Some("[31000-32000]")), None);
    }

    #[test]
    fn the_flags_say_who_looks_and_where() {
        let judge = |flags: &PortsFlags, isolation: &str| {
            let has = resources("cpus:1;ports:[31000-32000];ports(web):[80-80]");
            PortsConfig::from_flags(flags, isolation, &has)
        };
        let config = judge(&flags(), "posix/cpu, network/ports").unwrap();
        assert!(config.watch && !config.enforce && config.only.is_none());
        assert_eq!(config.interval, Duration::from_secs(2));
        assert!(!judge(&flags(), "network/cni").unwrap().watch);
        let own = PortsFlags {
            check_agent_port_range_only: true,
            ..flags()
        };
        let only = judge(&own, "").unwrap().only;
        assert_eq!(only, Some(ports("[80-80, 31000-32000]")));
        let range = |text: &str| PortsFlags {
            container_ports_isolated_range: Some(text.to_owned()),
            ..flags()
        };
        let only = judge(&range("[1-10, 20-30]"), "").unwrap().only;
        assert_eq!(only, Some(ports("[1-10, 20-30]")));
        let both = PortsFlags {
            check_agent_port_range_only: true,
            ..range("[1-10]")
        };
        let late = PortsFlags {
            container_ports_watch_interval: "soon".to_owned(),
            ..flags()
        };
        for (flags, why) in [
            (both, "not together with --check_agent_port_range_only"),
            (range("1-10"), "not ranges such as [1024-65535]"),
            (range("[10-1]"), "not ranges"),
            (range("[]"), "not ranges"),
            (late, "not a duration"),
        ] {
            let refused = judge(&flags, "").unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
