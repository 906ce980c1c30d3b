//! Compiles the .proto files without protoc (protox) into prost messages, and generates from the same descriptors what prost does
//! not know of: Mesos' JSON mapping, its schemas, and the tables that check required fields on the wire.

mod json;
mod openapi;
mod random;
mod schema;
mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// The roots; what they import comes along.
const FILES: [&str; 10] = [
    "mesos/v1/mesos.proto",
    "mesos/v1/scheduler.proto",
    "mesos/v1/executor.proto",
    "mesos/v1/master.proto",
    "mesos/v1/agent.proto",
    "mesos/v1/quota.proto",
    "mesos/v1/maintenance.proto",
    "mesos/v1/allocator.proto",
    "tepui/v1/agent.proto",
    "tepui/v1/framework.proto",
];

/// Large and seldom set: boxed, so that the structs around them stay small (tasks and resources live by the million in vectors).
const BOXED: [&str; 47] = [
    ".mesos.v1.Resource.disk",
    ".mesos.v1.Resource.reservation",
    ".mesos.v1.Volume.source",
    ".mesos.v1.Volume.image",
    ".mesos.v1.ContainerInfo.docker",
    ".mesos.v1.ContainerInfo.mesos",
    ".mesos.v1.ContainerInfo.linux_info",
    ".mesos.v1.ExecutorInfo.container",
    ".mesos.v1.ExecutorInfo.discovery",
    ".mesos.v1.TaskInfo.executor",
    ".mesos.v1.TaskInfo.container",
    ".mesos.v1.TaskInfo.health_check",
    ".mesos.v1.TaskInfo.check",
    ".mesos.v1.TaskInfo.discovery",
    ".mesos.v1.Task.container",
    ".mesos.v1.Task.health_check",
    ".mesos.v1.Task.discovery",
    ".mesos.v1.HealthCheck.command",
    ".mesos.v1.CheckInfo.command",
    ".mesos.v1.Offer.Operation.launch_group",
    ".mesos.v1.Offer.Operation.grow_volume",
    ".mesos.v1.Offer.Operation.shrink_volume",
    ".mesos.v1.Offer.Operation.create_disk",
    ".mesos.v1.Offer.Operation.destroy_disk",
    ".mesos.v1.ResourceStatistics.perf",
    ".mesos.v1.ResourceStatistics.net_rate_statistics",
    ".mesos.v1.ResourceStatistics.net_snmp_statistics",
    ".mesos.v1.scheduler.Call.subscribe",
    ".mesos.v1.scheduler.Call.update_framework",
    ".mesos.v1.scheduler.Event.subscribed",
    ".mesos.v1.scheduler.Event.update_operation_status",
    ".mesos.v1.executor.Event.subscribed",
    ".mesos.v1.executor.Event.launch",
    ".mesos.v1.executor.Event.launch_group",
    ".mesos.v1.master.Call.grow_volume",
    ".mesos.v1.master.Call.shrink_volume",
    ".mesos.v1.master.Event.task_added",
    ".mesos.v1.master.Event.task_updated",
    ".mesos.v1.master.Event.agent_added",
    ".mesos.v1.master.Event.framework_added",
    ".mesos.v1.master.Event.framework_updated",
    ".mesos.v1.master.Event.framework_removed",
    ".tepui.v1.AgentMessage.message.register",
    ".tepui.v1.AgentMessage.message.operation_update",
    ".tepui.v1.MasterMessage.message.run_task_group",
    ".tepui.v1.MasterMessage.message.apply_operation",
    ".tepui.v1.MasterMessage.message.registered",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let mut files = protox::compile(FILES, ["proto"])?;
    let mut config = prost_build::Config::new();
    // Deterministic output, and cheap slices of the received buffer.
    config.btree_map(["."]).bytes(["."]);
    for path in BOXED {
        config.boxed(path);
    }
    let schema = schema::Schema::new(&files);
    // What is deprecated for framework authors is daily bread to those who serve them: the mark rules the JSON mapping, no lint.
    for file in &mut files.file {
        file.message_type.iter_mut().for_each(clear_deprecated);
    }
    config.compile_fds(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("json.rs"), json::generate(&schema))?;
    fs::write(out.join("schemas.json"), openapi::generate(&schema))?;
    fs::write(out.join("wire.rs"), wire::generate(&schema))?;
    fs::write(out.join("random.rs"), random::generate(&schema))?;
    Ok(())
}

fn clear_deprecated(message: &mut prost_types::DescriptorProto) {
    for options in message
        .field
        .iter_mut()
        .filter_map(|field| field.options.as_mut())
    {
        options.deprecated = None;
    }
    message.nested_type.iter_mut().for_each(clear_deprecated);
}
