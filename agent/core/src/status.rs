//! Ids made up from the incarnation, and the words for how a process ended.

use bytes::Bytes;
use tepui_model::ContainerId;

/// Makes ids up: a counter scrambled with the incarnation, so that two agents, or two lives of one, never make the same.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: (u64, u64),
    counter: u64,
}

/// One round of splitmix64: every bit of the input reaches every bit of the output, and no two inputs share an output.
const fn scramble(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Ids {
    pub(crate) fn new(incarnation: [u8; 16]) -> Self {
        let wide = u128::from_be_bytes(incarnation);
        Self {
            seed: ((wide >> 64) as u64, wide as u64),
            counter: 0,
        }
    }

    /// A fresh uuid, marked as version 4.
    pub(crate) fn uuid(&mut self) -> [u8; 16] {
        self.counter += 1;
        let high = scramble(self.seed.0 ^ scramble(self.counter));
        let low = scramble(self.seed.1 ^ scramble(!self.counter));
        let mut uuid = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }

    pub(crate) fn uuid_bytes(&mut self) -> Bytes {
        Bytes::copy_from_slice(&self.uuid())
    }

    pub(crate) fn container(&mut self) -> ContainerId {
        let uuid = self.uuid();
        let mut text = String::with_capacity(36);
        for (index, byte) in uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        ContainerId::new(text).expect("a UUID is a container id")
    }
}

/// The exit code in a wait(2) status, if the process exited.
pub(crate) const fn exit_code(status: i32) -> Option<i32> {
    if status & 0x7f == 0 {
        Some(status >> 8 & 0xff)
    } else {
        None
    }
}

/// How a command ended, as Mesos' executors say it.
pub(crate) fn ended(what: &str, status: Option<i32>) -> String {
    let Some(status) = status else {
        return format!("{what} ended, and nothing tells how");
    };
    match exit_code(status) {
        Some(code) => format!("{what} exited with status {code}"),
        None => {
            let core = if status & 0x80 == 0 {
                ""
            } else {
                " (core dumped)"
            };
            format!(
                "{what} terminated with signal {}{core}",
                signal_name(status & 0x7f)
            )
        }
    }
}

/// The C library's words for a signal of Linux.
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "Hangup",
        "Interrupt",
        "Quit",
        "Illegal instruction",
        "Trace/breakpoint trap",
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Killed",
        "User defined signal 1",
        "Segmentation fault",
        "User defined signal 2",
        "Broken pipe",
        "Alarm clock",
        "Terminated",
        "Stack fault",
        "Child exited",
        "Continued",
        "Stopped (signal)",
        "Stopped",
        "Stopped (tty input)",
        "Stopped (tty output)",
        "Urgent I/O condition",
        "CPU time limit exceeded",
        "File size limit exceeded",
        "Virtual timer expired",
        "Profiling timer expired",
        "Window changed",
        "I/O possible",
        "Power failure",
        "Bad system call",
    ];
    match usize::try_from(signal - 1)
        .ok()
        .and_then(|index| NAMES.get(index))
    {
        Some(name) => (*name).to_owned(),
        None if signal >= 34 => format!("Real-time signal {}", signal - 34),
        None => format!("Unknown signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_an_end() {
        let cases = [
            (Some(0), "Command exited with status 0"),
            (Some(3 << 8), "Command exited with status 3"),
            (Some(9), "Command terminated with signal Killed"),
            (Some(15), "Command terminated with signal Terminated"),
            (
                Some(11 | 0x80),
                "Command terminated with signal Segmentation fault (core dumped)",
            ),
            (
                Some(40),
                "Command terminated with signal Real-time signal 6",
            ),
            (None, "Command ended, and nothing tells how"),
        ];
        for (status, expected) in cases {
            assert_eq!(ended("Command", status), expected);
        }
    }

    #[test]
    fn ids_are_uuids_and_differ_between_lives() {
        let (mut one, mut two) = (Ids::new([1; 16]), Ids::new([2; 16]));
        let mut all: Vec<String> = (0..1000)
            .flat_map(|_| [one.container(), two.container()])
            .map(|c| c.to_string())
            .collect();
        assert!(
            all.iter()
                .all(|id| id.len() == 36 && id.as_bytes()[14] == b'4')
        );
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2000);
    }
}
