//! The nodes of candidates: which of a directory's children they are, and in which order they lead. Pure.

/// A candidate's node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) sequence: u64,
}

/// The children that are candidates with this label, the leader first. Others share the directory: nodes without a number, such as
/// `log_replicas`, and those of other labels, such as the `info_` of old.
pub(super) fn candidates(children: Vec<String>, label: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = children
        .into_iter()
        .filter_map(|name| {
            Some(Node {
                sequence: sequence(&name, label)?,
                name,
            })
        })
        .collect();
    nodes.sort_by_key(|node| node.sequence);
    nodes
}

/// The sequence number of a name: ten digits or more after the label, as ZooKeeper writes them.
pub(super) fn sequence(name: &str, label: &str) -> Option<u64> {
    let digits = name.strip_prefix(label)?;
    if digits.len() < 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_children_of_the_label_count() {
        let cases = [
            ("json.info_0000000005", Some(5)),
            ("json.info_0000000000", Some(0)),
            ("json.info_2147483647", Some(2_147_483_647)),
            ("json.info_0000002147483648000", Some(2_147_483_648_000)),
            ("json.info_5", None),
            ("json.info_", None),
            ("json.info_00000000x5", None),
            ("json.info_-000000005", None),
            ("json.info_99999999999999999999999", None),
            ("info_0000000001", None),
            ("log_replicas", None),
            ("tepui", None),
        ];
        for (name, expected) in cases {
            assert_eq!(sequence(name, "json.info_"), expected, "{name}");
        }
    }

    #[test]
    fn the_lowest_number_leads() {
        let children = [
            "json.info_0000000012",
            "tepui",
            "json.info_0000000003",
            "info_0000000001",
            "json.info_0000000100",
        ];
        let nodes = candidates(children.map(str::to_owned).to_vec(), "json.info_");
        assert_eq!(
            nodes.iter().map(|n| n.sequence).collect::<Vec<_>>(),
            [3, 12, 100]
        );
    }
}
