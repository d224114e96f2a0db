//! What the query of an exec, attach or port-forward asks for.

use crate::query::Query;
use crate::status::Status;

/// Streams and ports that a session asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// The client writes to the command.
    pub stdin: bool,
    /// The command's output is wanted.
    pub stdout: bool,
    /// The command's error output is wanted. With a terminal the runtime sends none.
    pub stderr: bool,
    /// A terminal is wanted.
    pub tty: bool,
    /// Ports named in the query: those of the old WebSocket port-forward, which has two channels for each.
    pub ports: usize,
}

impl Asked {
    pub(super) fn streams(query: &Query) -> Self {
        Self {
            stdin: query.bool("stdin"),
            stdout: query.bool("stdout"),
            stderr: query.bool("stderr"),
            tty: query.bool("tty"),
            ports: 0,
        }
    }

    /// Ports as apimachinery reads them: the parameter repeated, or with commas, each a plain number.
    pub(super) fn ports(query: &Query) -> Result<Self, Status> {
        let mut count = 0;
        for port in query.all("ports").flat_map(|list| list.split(',')) {
            let plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            if !plain || !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err(Status::bad_request("ports must be numbers from 1 to 65535"));
            }
            count += 1;
        }
        if count == 0 || count > PORTS_MAX {
            return Err(Status::bad_request(format!("a port-forward needs 1 to {PORTS_MAX} ports")));
        }
        Ok(Self { ports: count, ..Self::default() })
    }
}

/// Each port takes two channels, a channel is one byte, and 255 is taken.
pub(super) const PORTS_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_old_port_forward() {
        let cases = [
            ("ports=8080", Some(1)),
            ("ports=8080&ports=8081", Some(2)),
            ("ports=8080,8081&ports=1", Some(3)),
            ("", None),
            ("ports=", None),
            ("ports=0", None),
            ("ports=65536", None),
            ("ports=%2B80", None),
            ("ports=80,", None),
            ("ports=http", None),
        ];
        for (query, expected) in cases {
            let ports = Asked::ports(&Query::parse(query)).ok().map(|asked| asked.ports);
            assert_eq!(ports, expected, "{query}");
        }
    }

    #[test]
    fn the_number_of_ports_is_bounded() {
        let query = |count: usize| format!("ports={}", vec!["80"; count].join(","));
        assert_eq!(Asked::ports(&Query::parse(&query(PORTS_MAX))).unwrap().ports, PORTS_MAX);
        assert_eq!(Asked::ports(&Query::parse(&query(PORTS_MAX + 1))).unwrap_err().code, 400);
    }
}
