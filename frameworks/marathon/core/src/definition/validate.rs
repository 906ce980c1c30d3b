//! Rules over the fields of a canonical app, in Marathon's words.

use std::collections::BTreeSet;

use super::{Setting, app::App, group_role, reader::Faults};
use crate::path::PathId;

/// Each segment of a path.
const SEGMENT: &str = r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$";
/// The longest id, in bytes: task ids are made of it, and Mesos takes no more than 255 for those.
const MAX_ID_BYTES: usize = 190;
/// Last segments that would hide sub-resources of the REST API.
const RESERVED: [&str; 3] = ["restart", "tasks", "versions"];
/// Only one instance of such an app may ever run.
const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// Checks `app`; `old_role` is the role that it has so far.
pub(crate) fn validate(
    app: &App,
    old_role: Option<&str>,
    setting: Setting<'_>,
    faults: &mut Faults,
) {
    id(&app.id, "/id", faults);
    if app.id.is_root() {
        faults.add("/", "must not be root");
        faults.add("/id", "Path must contain at least one path element");
    }
    for (at, dependency) in app.dependencies.iter().enumerate() {
        segments(dependency, &format!("/dependencies({at})"), faults);
    }
    command(app, faults);
    ports(app, faults);
    super::place::validate(app, faults);
    super::readiness::validate(app, faults);
    super::volume::validate(app, faults);
    super::external::validate(app, setting.external_volumes, faults);
    super::check::validate(app, faults);
    super::daemon::validate(app, faults);
    super::ordinals::validate(app, faults);
    gpus(app, setting, faults);
    let limits = app.resource_limits;
    super::isolation::validate_limits(limits, app.cpus, app.mem, "/resourceLimits", faults);
    roles(app, "/acceptedResourceRoles", old_role, setting, faults);
    if app.env.contains_key("") {
        faults.add("/env", "must not be empty");
    }
    let single = app
        .labels
        .get(SINGLE_INSTANCE)
        .is_some_and(|value| value == "true");
    if single {
        if app.instances > 1 {
            faults.add("/", "Single instance app may only have one instance");
        }
        for (key, value) in [
            (
                "maximumOverCapacity",
                app.upgrade_strategy.maximum_over_capacity,
            ),
            (
                "minimumHealthCapacity",
                app.upgrade_strategy.minimum_health_capacity,
            ),
        ] {
            if value != 0.0 {
                faults.add(
                    format!("/upgradeStrategy/{key}"),
                    format!("got {value:?}, expected 0.0"),
                );
            }
        }
    }
    if let Some(version) = app.labels.get("DCOS_MIGRATION_API_VERSION") {
        if version != "v1" {
            faults.add("/labels", "got ".to_owned() + version + ", expected v1");
        }
        let defined = |key: &str| app.labels.get(key).is_some_and(|value| !value.is_empty());
        if !defined("DCOS_PACKAGE_FRAMEWORK_NAME") || !defined("DCOS_MIGRATION_API_PATH") {
            let message = "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION";
            faults.add("/", message);
        }
    }
    for (at, check) in app.health_checks.iter().enumerate() {
        let docker = app.container.as_ref();
        let docker = docker.is_some_and(|one| one.kind == super::ContainerKind::Docker);
        let by_executor =
            check.protocol.is_mesos() && check.protocol != super::HealthProtocol::Command;
        if check.ip_protocol == super::IpProtocol::IPv6 && !(docker && by_executor) {
            let message = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks";
            faults.add(format!("/healthChecks({at})/ipProtocol"), message);
        }
        let addressed = check.port_index.unwrap_or(0) as usize;
        let needs_port = check.protocol != super::HealthProtocol::Command && check.port.is_none();
        if needs_port && addressed >= app.ports().len() {
            let message = "Health check port indices must address an element of the ports array or container port mappings.";
            faults.add(format!("/healthChecks({at})"), message);
        }
    }
    // COMMAND checks beyond one are borne, as Mesos uses one of them.
    let mesos = |check: &&super::HealthCheck| {
        check.protocol.is_mesos() && check.protocol != super::HealthProtocol::Command
    };
    let command = app
        .health_checks
        .iter()
        .any(|check| check.protocol == super::HealthProtocol::Command);
    if app.health_checks.iter().filter(mesos).count() + usize::from(command) > 1 {
        faults.add(
            "/",
            "AppDefinition can contain at most one Mesos health check",
        );
    }
}

fn gpus(app: &App, setting: Setting<'_>, faults: &mut Faults) {
    if app.gpus == 0 {
        return;
    }
    let docker = app.container.as_ref();
    if docker.is_some_and(|container| container.kind == super::ContainerKind::Docker) {
        let message = "GPU resources only work with the Mesos containerizer";
        faults.add("/", message);
    }
    if !setting.gpu_resources {
        faults.add("/gpus", super::update::feature("gpu_resources"));
    }
}

/// The rules for the id of a group.
pub(crate) fn group_id(group: &PathId, path: &str, faults: &mut Faults) {
    id(group, path, faults);
}

/// The rules for an id.
pub(super) fn id(id: &PathId, path: &str, faults: &mut Faults) {
    segments(id, path, faults);
    if id.as_str().len() > MAX_ID_BYTES {
        faults.add(
            path,
            format!("must not be longer than {MAX_ID_BYTES} bytes"),
        );
    }
    if id
        .segments()
        .next_back()
        .is_some_and(|last| RESERVED.contains(&last))
    {
        faults.add(path, "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..");
    }
}

fn segments(id: &PathId, path: &str, faults: &mut Faults) {
    if !id.segments().all(valid_segment) {
        faults.add(
            path,
            format!("must fully match regular expression '{SEGMENT}'"),
        );
    }
}

/// What [`SEGMENT`] demands: parts joined by dots, each of lower-case letters, digits and inner dashes.
fn valid_segment(segment: &str) -> bool {
    segment.split('.').all(|part| {
        let letters = part
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        letters && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    })
}

fn command(app: &App, faults: &mut Faults) {
    let (shell, args) = (app.cmd.is_some(), !app.args.is_empty());
    if (shell && args) || !(shell || args || app.container.is_some()) {
        faults.add(
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        );
    }
    // Marathon's rule wants more than one letter; the empty one was refused when it was read.
    if app.cmd.as_ref().is_some_and(|cmd| cmd.chars().count() < 2) {
        faults.add("/cmd", "must not be an empty string");
    }
}

fn ports(app: &App, faults: &mut Faults) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in app.port_definitions.iter().flatten().enumerate() {
        if let Some(name) = &port.name {
            if !port_name(name) {
                let message =
                    "must fully match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'";
                faults.add(format!("/portDefinitions({at})/name"), message);
            }
            if !names.insert(name) {
                faults.add("/portDefinitions", "Port names must be unique.");
            }
        }
        if port.port != 0 && !numbers.insert(port.port) {
            faults.add("/portDefinitions", "Ports must be unique.");
        }
    }
}

pub(super) fn port_name(name: &str) -> bool {
    let letters = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && !name.is_empty() && !name.starts_with('-') && !name.ends_with('-')
}

/// The rules for roles; `accepted_path` is where those of resources stand.
pub(super) fn roles(
    app: &App,
    accepted_path: &str,
    old_role: Option<&str>,
    setting: Setting<'_>,
    faults: &mut Faults,
) {
    let mut allowed: Vec<&str> = match setting.enforced_role(&app.id) {
        Some(role) => vec![role],
        None => [setting.default_role]
            .into_iter()
            .chain(group_role(&app.id))
            .collect(),
    };
    allowed.extend(old_role);
    allowed.sort_unstable();
    allowed.dedup();
    if !allowed.contains(&app.role.as_str()) {
        faults.add(
            "/role",
            format!(
                "got {}, expected one of: [{}]",
                app.role,
                allowed.join(", ")
            ),
        );
    }
    if let Some(accepted) = &app.accepted_resource_roles {
        if accepted.is_empty() {
            faults.add(accepted_path, "must not be empty");
        }
        if accepted.iter().any(|role| role != "*" && *role != app.role) {
            let both = if app.role == "*" {
                "*".to_owned()
            } else {
                format!("* and {}", app.role)
            };
            faults.add(
                accepted_path,
                format!("acceptedResourceRoles can only contain {both}"),
            );
        }
    }
}
