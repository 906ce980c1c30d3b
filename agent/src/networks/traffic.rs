//! What went through a container's network, from its own side.

use tepui_proto::mesos::v1::ResourceStatistics;

/// Adds what the interfaces of the network in which this process is have received and sent; nothing if it has ended.
pub(crate) fn add(pid: u32, statistics: &mut ResourceStatistics) {
    if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/dev")) {
        add_from(&text, statistics);
    }
}

/// Two lines of headings, then a line for each interface: eight numbers of what it has received, eight of what it has sent; each time
/// bytes, packets, errors and what was dropped come first.
fn add_from(text: &str, statistics: &mut ResourceStatistics) {
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        // What a container says to itself does not leave it.
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        let sums = [
            (0, &mut statistics.net_rx_bytes),
            (1, &mut statistics.net_rx_packets),
            (2, &mut statistics.net_rx_errors),
            (3, &mut statistics.net_rx_dropped),
            (8, &mut statistics.net_tx_bytes),
            (9, &mut statistics.net_tx_packets),
            (10, &mut statistics.net_tx_errors),
            (11, &mut statistics.net_tx_dropped),
        ];
        for (at, sum) in sums {
            if let Some(number) = numbers.get(at) {
                *sum = Some(sum.unwrap_or(0).saturating_add(*number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_add_up_without_the_inner_one() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    9000      90    0    0    0     0          0         0     9000      90    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0      500       5    3    4    0     0       0          0
  eth1:100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0
";
        let mut told = ResourceStatistics::default();
        add_from(text, &mut told);
        let expected = ResourceStatistics {
            net_rx_bytes: Some(1100),
            net_rx_packets: Some(11),
            net_rx_errors: Some(1),
            net_rx_dropped: Some(2),
            net_tx_bytes: Some(550),
            net_tx_packets: Some(6),
            net_tx_errors: Some(3),
            net_tx_dropped: Some(4),
            ..ResourceStatistics::default()
        };
        assert_eq!(told, expected);
        let mut nothing = ResourceStatistics::default();
        add_from("heading\nheading\n", &mut nothing);
        assert_eq!(nothing, ResourceStatistics::default());
    }
}
