//! Generates the tonic clients and servers; the messages themselves come from tepui-proto.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../proto");
    let files = protox::compile(
        ["tepui/v1/agent.proto", "tepui/v1/framework.proto"],
        ["../proto"],
    )?;
    tonic_prost_build::configure()
        // `connect` is the name of our own method; clients are made with `new(channel)`.
        .build_transport(false)
        .codec_path("crate::Checked")
        .extern_path(".mesos", "::tepui_proto::mesos")
        .extern_path(".tepui", "::tepui_proto::tepui")
        .compile_fds(files)?;
    // Storage plugins' own interface: its messages are nobody else's, so they live here.
    let csi = protox::compile(["csi/v1/csi.proto"], ["../proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .compile_fds(csi)?;
    Ok(())
}
