//! What README and docs say to do works as it stands there, and prints what they show.
//!
//! Commands stand in blocks marked `sh`, which a shell runs whole; a block marked `text` behind one is what it prints, where
//! `…` stands for anything, on a line of its own for any lines, and blanks count once. A command fails where an error is shown,
//! and nowhere else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hawser_tests::{Ran, ok, run, until, up};
use tempfile::TempDir;

/// Commands, and what they print if that is shown.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    commands: String,
    shown: Option<String>,
}

/// The blocks of a document, in their order. One in a list is indented like its fence.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let inside: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
        match (kind, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { commands: inside.join("\n"), shown: None }),
            ("text", Some(last)) => last.shown = Some(inside.join("\n")),
            (_, _) => {}
        }
    }
    blocks
}

/// Whether this is what the document shows.
fn fits(shown: &[&str], printed: &[&str]) -> bool {
    match shown {
        [] => printed.is_empty(),
        ["…", rest @ ..] => (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..])),
        [line, rest @ ..] => printed.split_first().is_some_and(|(first, others)| {
            line_fits(&squeezed(line), &squeezed(first)) && fits(rest, others)
        }),
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    let Some((first, rest)) = shown.split_once('…') else { return shown == line };
    let Some(mut line) = line.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in middle.split('…') {
        let Some((_, behind)) = line.split_once(part) else { return false };
        line = behind;
    }
    line.ends_with(last)
}

/// Columns are as wide as what stands in them.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a document's commands run: a folder of their own, with the programs of `up` on the PATH.
struct Shell {
    folder: TempDir,
    setup: String,
    inside: Vec<String>,
}

impl Shell {
    /// After `up`, with the lines pasted that it printed.
    fn of_newcomer() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), setup: up().exports.join("\n"), inside: Vec::new() }
    }

    fn run(&self, commands: &str) -> Ran {
        // One stream, so that errors stand where a terminal shows them.
        let script = format!("exec 2>&1\n{}\nset -e -o pipefail\n{commands}", self.setup);
        let mut words = self.inside.iter().map(String::as_str).chain(["bash", "-c", &script]);
        let mut command = Command::new(words.next().unwrap());
        run(command.args(words).current_dir(self.folder.path()))
    }

    /// Runs a block until it prints what is shown. What was changed by the one before may be in force a moment later: sooner than
    /// a reader gets there.
    fn follow(&self, block: &Block) {
        let mut first = None;
        let mut attempts = ATTEMPTS;
        loop {
            let ran = self.run(&block.commands);
            if as_shown(&ran, block.shown.as_deref()) {
                return;
            }
            let first = first.get_or_insert(ran);
            attempts -= 1;
            assert!(attempts > 0, "{}\nexit code {}:\n{}", block.commands, first.code, first.stdout);
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn as_shown(ran: &Ran, shown: Option<&str>) -> bool {
    let lines: Vec<&str> = shown.unwrap_or("…").lines().collect();
    let fails = lines.iter().any(|line| line.starts_with("Error from server") || line.starts_with("error: "));
    (ran.code != 0) == fails && fits(&lines, &ran.stdout.lines().collect::<Vec<_>>())
}

fn document(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `cargo xtask` starts, tests and removes what this test runs in: its commands are only looked at.
fn is_of_developers(block: &Block) -> bool {
    block.commands.lines().all(|line| line.starts_with("cargo xtask "))
}

#[test]
fn the_tour_can_be_followed_and_repeated() {
    let blocks = blocks(&document("README.md"));
    let (developers, tour): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| is_of_developers(block));
    for line in developers.iter().flat_map(|block| block.commands.lines()) {
        exists(line);
    }
    assert!(developers.len() >= 2 && tour.len() >= 10, "{blocks:#?}");
    let before = state();
    for _ in 0..2 {
        let shell = Shell::of_newcomer();
        tour.iter().for_each(|block| shell.follow(block));
        assert_eq!(fs::read_dir(shell.folder.path()).unwrap().count(), 0, "files are left");
        until("all is as it was", Duration::from_secs(30), || state() == before);
    }
}

/// What a tour could leave behind.
fn state() -> Vec<String> {
    let hawser = |kind| ok(&mut up().hawser(&["get", kind, "--output", "yaml"]));
    let mut state: Vec<String> = ["users", "groups", "accesspolicies", "credentials"].map(hawser).into();
    state.push(ok(&mut up().kubectl(hawser_tests::Way::Direct, &["get", "all,secrets", "-o", "name"])));
    state
}

/// The command is one that its program knows.
fn exists(line: &str) {
    let words: Vec<&str> = line.split(" # ").next().unwrap().split_whitespace().collect();
    let mut command = match words.as_slice() {
        ["cargo", args @ ..] => {
            let mut command = Command::new("cargo");
            command.args(args).current_dir(repository());
            command
        }
        ["hawser", args @ ..] => up().hawser(args),
        _ => unreachable!("not a command of ours: {line}"),
    };
    let help = ok(command.arg("--help"));
    assert!(help.contains("Usage: "), "{line}\n{help}");
}

/// The reference shows how an edge is started with a file in /etc, which is the machine's and not the test's.
#[test]
fn the_commands_of_the_reference_exist() {
    let text = document("docs/configuration.md");
    let commands = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<&str> = commands.filter(|line| line.starts_with("hawser ")).collect();
    assert!(commands.len() >= 2, "{commands:?}");
    for line in commands {
        exists(line);
    }
}

/// A process that is killed when dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A network of its own, where an edge has the ports that are its defaults. Held by a process that sleeps.
struct Network(Background);

impl Network {
    fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
        let network = Self(Background(holder));
        until("a network", Duration::from_secs(20), || {
            let name = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
            let made = name(&network.0.0.id().to_string());
            made.is_some() && made != name("self")
        });
        let _up = ok(Command::new("nsenter").arg(network.flag()).args(["ip", "link", "set", "lo", "up"]));
        network
    }

    fn flag(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.0.0.id())
    }
}

/// The steps of docs/install.md with a fresh edge, but for these: `hawser up` goes on in the background; what goes to a cluster
/// is taken by an API server that writes nothing (`--dry-run=server`), since its agent could reach no edge; so none connects.
#[test]
fn an_edge_and_a_cluster_are_set_up_as_written() {
    let blocks = blocks(&document("docs/install.md"));
    let network = Network::new();
    let mut shell = Shell::of_newcomer();
    shell.inside = vec!["nsenter".to_owned(), network.flag()];
    let folder = tempfile::tempdir().unwrap();
    let built = ok(Command::new("cargo").args(["xtask", "build"]).current_dir(repository()));
    symlink(built.trim_end(), folder.path().join("hawser")).unwrap();
    stand_in_for_kubectl(&folder.path().join("kubectl"));
    shell.setup = format!(
        "export PATH=\"{path}:$PATH\" HAWSER_DATA_DIR=\"{path}/data\"",
        path = folder.path().display()
    );
    let mut edge = None;
    for block in &blocks {
        match block.commands.as_str() {
            build if build.starts_with("cargo xtask ") => exists(build),
            up if up.starts_with("hawser up ") => {
                edge = Some(shell.background(up));
                until("the edge runs", Duration::from_secs(30), || {
                    shell.run("curl -sf http://127.0.0.1:9464/readyz").code == 0
                });
            }
            status @ "hawser status" => {
                let ran = shell.run(status);
                assert!(ran.code == 3 && ran.stdout.contains("no agent is connected"), "{ran:?}");
            }
            _ => shell.follow(block),
        }
    }
    assert!(edge.is_some(), "no `hawser up` in docs/install.md");
}

impl Shell {
    fn background(&self, commands: &str) -> Background {
        let mut words = self.inside.iter().map(String::as_str);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["bash", "-c", &format!("{}\nexec {commands}", self.setup)]);
        Background(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

/// kubectl of the last cluster's administrator, that changes nothing.
fn stand_in_for_kubectl(path: &Path) {
    let cluster = up().clusters.last().unwrap();
    let script = format!(
        "#!/bin/sh\nexec nsenter --net=/run/netns/{} {} --kubeconfig {} \"$@\" --dry-run=server\n",
        cluster.netns,
        up().kubectl.display(),
        cluster.direct_kubeconfig.display()
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn exit_codes_are_as_written() {
    let text = document("docs/install.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let commands =
        [&["version"][..], &["check", "/no/such/file"], &["no-such-command"], &["status", "no-such-cluster"]];
    assert_eq!(rows.len(), commands.len(), "{rows:?}");
    for (row, args) in rows.into_iter().zip(commands) {
        let ran = Shell::of_newcomer().run(&format!("hawser {}", args.join(" ")));
        assert!(row.starts_with(&format!("| {} |", ran.code)), "{row} {args:?} {ran:?}");
    }
}

#[test]
fn what_is_shown_is_compared() {
    let text = "1. Do\n\n   ```sh\n   a\n    b\n   ```\n   and see\n   ```text\n   c\n   ```\n```yaml\nd: e\n```\n```sh\nf\n```\n";
    let block = |commands: &str, shown: Option<&str>| Block {
        commands: commands.to_owned(),
        shown: shown.map(str::to_owned),
    };
    assert_eq!(blocks(text), [block("a\n b", Some("c")), block("f", None)]);

    let check = |shown: &str, code: i32, printed: &str| {
        as_shown(&Ran { stdout: printed.to_owned(), stderr: String::new(), code }, Some(shown))
    };
    assert!(check("NAME  AGE\nweb …", 0, "NAME   AGE\nweb    3s\n"));
    assert!(check("{…\"code\":403…}", 0, "{\"a\":1,\"code\":403,\"b\":2}\n"));
    assert!(check("first\n…\nlast", 0, "first\n1\n2\nlast\n"));
    assert!(check("error: you …", 1, "error: you may not\n"));
    for (shown, code, printed) in [
        ("web …", 0, "api 3s\n"),
        ("one", 0, "one\ntwo\n"),
        ("one\n…\nthree", 0, "one\ntwo\n"),
        ("{…\"code\":403…}", 0, "{\"code\":200}\n"),
        ("web", 1, "web\n"),
        ("error: you …", 0, "error: you may not\n"),
    ] {
        assert!(!check(shown, code, printed), "{shown} is not {printed}");
    }
}

/// A block is tried again after a second.
const ATTEMPTS: u32 = 15;
