//! The program as it is run: what it says before it begins and when it ends, and that a folder has one edge.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
    time::Duration,
};

fn hawser(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    command.args(words).env_remove("HAWSER_LOG").stdin(Stdio::null());
    command
}

/// `hawser up` on this folder.
fn up(folder: &Path) -> Command {
    up_with_health(folder, 0)
}

fn up_with_health(folder: &Path, port: u16) -> Command {
    let mut command = hawser(&["up", "--workers=1"]);
    command.arg(format!("--health=127.0.0.1:{port}")).arg(format!("--listen=127.0.0.1:{}", free_port()));
    command.arg("--data-dir").arg(folder);
    command
}

/// Free for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An edge that is up; killed when dropped.
struct Edge {
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Edge {
    fn start(folder: &Path) -> Self {
        let mut process = up(folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut edge = Self { process, log };
        let mut seen = String::new();
        while !seen.contains("edge up") {
            assert_ne!(edge.log.read_line(&mut seen).unwrap(), 0, "{seen}");
        }
        edge
    }

    /// SIGKILL, and its end.
    fn killed(mut self) {
        self.process.kill().unwrap();
        let _status = self.process.wait().unwrap();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_folder_has_one_edge() {
    let folder = tempfile::tempdir().unwrap();
    let first = Edge::start(folder.path());
    let second = up(folder.path()).output().unwrap();
    let wanted =
        format!("another edge (process {}) runs on {}: ", first.process.id(), folder.path().display());
    assert_eq!(second.status.code(), Some(1));
    assert!(told(&second).contains(&wanted), "{}", told(&second));
    let beside = hawser(&["get", "clusters", "--data-dir"]).arg(folder.path()).output().unwrap();
    assert!(beside.status.success(), "{}", told(&beside));

    first.killed();
    let _again = Edge::start(folder.path());
}

#[test]
fn the_last_lines_wait_for_a_slow_reader() {
    let folder = tempfile::tempdir().unwrap();
    let health = free_port();
    let is_up = || TcpStream::connect(("127.0.0.1", health)).is_ok();
    let (mut reader, full) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while (&full).write(&[b'x'; 1024]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let mut edge = up_with_health(folder.path(), health).stderr(OwnedFd::from(full)).spawn().unwrap();
    while !is_up() {
        assert!(edge.try_wait().unwrap().is_none(), "it has ended");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-TERM", &edge.id().to_string()]).status().unwrap().success());
    // Nothing is left to do then but to log.
    while is_up() {
        thread::sleep(Duration::from_millis(1));
    }
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert_eq!(edge.wait().unwrap().code(), Some(0));
    assert!(log.contains("edge up") && log.trim_end().ends_with("edge down"), "{log}");
}

#[test]
fn status_has_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let status = || hawser(&["status", "--data-dir"]).arg(folder.path()).output().unwrap();
    let no_folder = status();
    assert_eq!(no_folder.status.code(), Some(1), "{}", told(&no_folder));
    Edge::start(folder.path()).killed();
    let no_edge = status();
    assert_eq!(no_edge.status.code(), Some(3), "{}", told(&no_edge));
    assert!(told(&no_edge).contains("is `hawser up` running?"), "{}", told(&no_edge));
    for words in [&["--help"][..], &["status", "--help"]] {
        let help = hawser(words).output().unwrap();
        let text = String::from_utf8_lossy(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("3 `status`: a cluster is not connected, or no edge answers"), "{text}");
    }
}

#[test]
fn a_bad_log_filter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let agent = hawser(&["agent", "--cluster=c", "--replica=r", "--apiserver-host=127.0.0.1"]);
    for mut command in [up(folder.path()), agent] {
        let refused = command.env("HAWSER_LOG", "info,debgu").output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let text = told(&refused);
        assert!(text.contains("'info,debgu'") && text.contains("\"debgu\" at position 6"), "{text}");
        assert!(text.contains("HAWSER_LOG") && text.contains("info,hawser_edge=debug"), "{text}");
    }
    for command in ["up", "agent"] {
        let help = hawser(&[command, "--help"]).output().unwrap();
        assert!(String::from_utf8_lossy(&help.stdout).contains("HAWSER_LOG"), "{command}");
    }
}
