//! Block devices: as slow as asked for, by weight, and counted.

use std::os::unix::fs::MetadataExt;
use std::process::Command as Program;

use super::*;
use tepui_agent::containerizer::block_io::{
    BlockIo, BlockOperation, BlockRate, BlockRateKind, BlockUsage, DeviceNumber,
};

const MIB: u64 = 1 << 20;

/// A disk with nothing on it, in a file.
struct Disk {
    path: String,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        std::fs::File::create(&file)
            .unwrap()
            .set_len(16 * MIB)
            .unwrap();
        let made = Program::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self {
            path: String::from_utf8(made.stdout).unwrap().trim().to_owned(),
            _folder: folder,
        }
    }

    fn number(&self) -> DeviceNumber {
        let device = std::fs::metadata(&self.path).unwrap().rdev();
        let part = |part: u64| u32::try_from(part).unwrap();
        (
            part(nix::sys::stat::major(device)),
            part(nix::sys::stat::minor(device)),
        )
    }

    /// Reads that many MiB of it, past the page cache.
    fn read(&self, mib: u32) -> String {
        format!(
            "exec dd if={} of=/dev/null bs=1M count={mib} iflag=direct",
            self.path
        )
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Program::new("losetup")
            .arg("--detach")
            .arg(&self.path)
            .status();
    }
}

fn bytes(usage: &[BlockUsage], device: Option<DeviceNumber>, kind: BlockOperation) -> Option<u64> {
    let entry = usage.iter().find(|entry| entry.device == device)?;
    entry
        .bytes
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, count)| *count)
}

#[tokio::test]
async fn block_devices_are_as_slow_as_asked_for_and_what_is_read_is_counted() {
    let mut room = Room::new(Lifetime::Durable);
    let capabilities = room.containerizer.capabilities();
    if !capabilities.block_io {
        let warning = capabilities.warning().unwrap();
        assert!(
            warning.contains("the use of block devices is not measured"),
            "{warning}"
        );
        let mut spec = room.shell("refused", "true");
        spec.block_io.weight = Some(100);
        let refused = room
            .containerizer
            .launch(spec)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("block devices cannot be limited"),
            "{refused}"
        );
        return;
    }
    let disk = Disk::new();
    for (name, rates, least) in [
        ("free", Vec::new(), Duration::ZERO),
        (
            "slow",
            vec![(BlockRateKind::ReadBytes, 2 * MIB)],
            Duration::from_millis(1500),
        ),
    ] {
        let mut spec = room.shell(name, &disk.read(4));
        let rate = |(kind, limit)| BlockRate {
            device: disk.number(),
            kind,
            limit,
        };
        spec.block_io.rates = rates.into_iter().map(rate).collect();
        let begun = std::time::Instant::now();
        let exit = room.run(spec).await;
        let took = begun.elapsed();
        let errors = room.output(name, "stderr");
        assert_eq!(exit.status, Some(WaitStatus::exited(0)), "{name}: {errors}");
        assert!(took >= least, "{name} took {took:?}: {errors}");
        let used = exit.usage.unwrap().block;
        for kind in [BlockOperation::Read, BlockOperation::Total] {
            let read = bytes(&used, Some(disk.number()), kind);
            assert_eq!(read, Some(4 * MIB), "{name}: {used:?}");
        }
        let all = bytes(&used, None, BlockOperation::Total);
        assert!(all >= Some(4 * MIB), "{name}: {used:?}");
    }
    room.assert_clean();
}

#[tokio::test]
async fn weights_are_set_where_the_kernel_knows_any_and_what_is_wrong_is_said() {
    let mut room = Room::new(Lifetime::Durable);
    if !room.containerizer.capabilities().block_io {
        return; // The test above says what happens then.
    }
    let mut spec = room.shell("weighty", "exec sleep 1000");
    spec.block_io = BlockIo {
        weight: Some(300),
        rates: Vec::new(),
    };
    room.containerizer.launch(spec).await.unwrap();
    match room.next().await {
        ContainerEvent::Started { .. } => {
            let files = [
                "io.bfq.weight",
                "io.weight",
                "blkio.bfq.weight",
                "blkio.weight",
            ];
            let roots = room.cgroups();
            let places = files
                .iter()
                .flat_map(|file| roots.iter().map(move |root| (file, root)));
            let found: Vec<String> = places
                .filter_map(|(file, root)| {
                    std::fs::read_to_string(root.join("weighty").join(file)).ok()
                })
                .collect();
            let set = |text: &String| text.contains("300") || text.contains("2930");
            assert!(found.iter().any(set), "{found:?}");
            room.containerizer.destroy(&id("weighty")).await.unwrap();
            room.exit().await;
        }
        ContainerEvent::Exited { exit, .. } => {
            assert!(format!("{exit:?}").contains("BFQ"), "{exit:?}");
            room.containerizer.destroy(&id("weighty")).await.unwrap();
        }
    }
    let mut nowhere = room.shell("nowhere", "true");
    nowhere.block_io.rates = vec![BlockRate {
        device: (4095, 77),
        kind: BlockRateKind::Writes,
        limit: 10,
    }];
    room.containerizer.launch(nowhere).await.unwrap();
    let exit = room.exit().await;
    assert!(format!("{exit:?}").contains("4095:77"), "{exit:?}");
    room.containerizer.destroy(&id("nowhere")).await.unwrap();
    room.assert_clean();
}
