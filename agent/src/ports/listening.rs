//! Who listens on what, from `/proc`: the sockets of this network namespace that listen, and which of them a process has open.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use tepui_model::resources::Ranges;

/// The state of a socket that listens, as the kernel prints it.
const LISTEN: &str = "0A";

/// TCP sockets that listen: the port of each, by the number of its inode.
#[derive(Debug, Default)]
pub(super) struct Listening(HashMap<u64, u16>);

impl Listening {
    /// Those of this process' network namespace, of both versions of IP.
    pub(super) fn now() -> io::Result<Self> {
        let mut all = Self::default();
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            match File::open(table) {
                Ok(table) => all.take_in(BufReader::new(table))?,
                // A kernel without this version of IP.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Reads a table as `/proc/net/tcp` is. Lines that are no sockets are passed over, as the heading is.
    fn take_in(&mut self, table: impl BufRead) -> io::Result<()> {
        for line in table.lines() {
            self.0.extend(socket(&line?));
        }
        Ok(())
    }

    /// The ports on which this process listens; none if it is gone.
    pub(super) fn of(&self, pid: i32, ports: &mut Ranges) {
        let open = Path::new("/proc").join(pid.to_string()).join("fd");
        let files = std::fs::read_dir(open).into_iter().flatten().flatten();
        let mut add = |port: u16| {
            // From a number to itself is never backwards.
            if let Ok(one) = Ranges::from_to(port.into(), port.into()) {
                ports.union_with(&one);
            }
        };
        for file in files {
            let Ok(target) = std::fs::read_link(file.path()) else {
                continue;
            };
            let inode = target.to_str().and_then(inode);
            if let Some(port) = inode.and_then(|inode| self.0.get(&inode)) {
                add(*port);
            }
        }
    }
}

/// The inode and the port of a line, if it is a socket that listens.
fn socket(line: &str) -> Option<(u64, u16)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    if words.nth(1)? != LISTEN {
        return None;
    }
    let inode = words.nth(5)?.parse().ok()?;
    Some((inode, u16::from_str_radix(port, 16).ok()?))
}

/// The number of the socket that an open file is.
fn inode(target: &str) -> Option<u64> {
    let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn sockets_that_listen_are_found_in_the_kernels_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F91 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1 0
   3: nonsense
   4: 0100007F:FFFFF 00000000:0000 0A 0:0 00:0 0 0 0 4714
";
        let mut all = Listening::default();
        all.take_in(table.as_bytes()).unwrap();
        assert_eq!(all.0, HashMap::from([(4711, 8080), (4713, 80)]));
        assert_eq!(inode("socket:[4711]"), Some(4711));
        for other in ["pipe:[4711]", "socket:[]", "socket:[4711", "/dev/null"] {
            assert_eq!(inode(other), None);
        }
    }

    #[test]
    fn a_process_listens_where_it_has_a_socket_open() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = four.local_addr().unwrap();
        let connected = TcpStream::connect(there).unwrap();
        let ours = || {
            let mut ports = Ranges::new();
            let own = i32::try_from(std::process::id()).unwrap();
            Listening::now().unwrap().of(own, &mut ports);
            ports
        };
        assert!(ours().has(there.port().into()));
        let client = connected.local_addr().unwrap().port();
        assert!(!ours().has(client.into()), "it does not listen there");
        // Version 6 too, on machines that have it.
        if let Ok(six) = TcpListener::bind("[::1]:0") {
            assert!(ours().has(six.local_addr().unwrap().port().into()));
        }
        let mut ports = Ranges::new();
        Listening::now().unwrap().of(i32::MAX, &mut ports);
        assert!(ports.is_empty());
    }
}
