//! Block I/O as Mesos tells it: one entry a device, and one without a device for all together.

use tepui_proto::mesos::v1::cgroup_info::blkio::{self, Statistics, Value, throttling};
use tepui_proto::mesos::v1::device::Number;

use crate::containerizer::block_io::{BlockOperation, BlockUsage};

/// `None` if nothing is measured.
pub(super) fn statistics(usage: &[BlockUsage]) -> Option<Statistics> {
    (!usage.is_empty()).then(|| Statistics {
        throttling: usage.iter().map(of_device).collect(),
        ..Statistics::default()
    })
}

fn of_device(usage: &BlockUsage) -> throttling::Statistics {
    throttling::Statistics {
        device: usage.device.map(|(major, minor)| Number {
            major_number: major.into(),
            minor_number: minor.into(),
        }),
        io_serviced: usage.operations.iter().map(value).collect(),
        io_service_bytes: usage.bytes.iter().map(value).collect(),
    }
}

fn value(&(operation, value): &(BlockOperation, u64)) -> Value {
    use blkio::Operation;
    let operation = match operation {
        BlockOperation::Total => Operation::Total,
        BlockOperation::Read => Operation::Read,
        BlockOperation::Write => Operation::Write,
        BlockOperation::Sync => Operation::Sync,
        BlockOperation::Async => Operation::Async,
        BlockOperation::Discard => Operation::Discard,
    };
    Value {
        op: Some(operation.into()),
        value: Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_come_first_and_all_together_last_without_a_device() {
        let usage = [
            BlockUsage {
                device: Some((254, 0)),
                operations: vec![(BlockOperation::Read, 2), (BlockOperation::Total, 2)],
                bytes: vec![(BlockOperation::Discard, 5)],
            },
            BlockUsage {
                device: None,
                operations: vec![(BlockOperation::Total, 2)],
                bytes: Vec::new(),
            },
        ];
        let told = tepui_proto::json::to_vec(&statistics(&usage).unwrap());
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let expected = serde_json::json!({ "throttling": [
            {
                "device": { "major_number": 254, "minor_number": 0 },
                "io_serviced": [{ "op": "READ", "value": 2 }, { "op": "TOTAL", "value": 2 }],
                "io_service_bytes": [{ "op": "DISCARD", "value": 5 }],
            },
            { "io_serviced": [{ "op": "TOTAL", "value": 2 }] },
        ]});
        assert_eq!(told, expected);
        assert_eq!(statistics(&[]), None);
    }
}
