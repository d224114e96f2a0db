//! Runs a list of commands directly and through Hawser, each in a namespace of its own, and compares standard
//! output, standard error and exit code after one committed scrub file (`e2e/same_as_direct/scrub.sed`).

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::{Ran, Way, ok, program, run_with, until, up};
use list::{Entry, Expected, Step};

mod list;

/// Which kubectl runs the list, and over which transport it opens streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The newest, which opens streams over WebSocket.
    Newest,
    /// The newest, told to use SPDY.
    NewestSpdy,
    /// Debian's (1.20), which knows only SPDY.
    Debian,
}

impl Client {
    fn kubectl(self) -> PathBuf {
        match self {
            Self::Newest | Self::NewestSpdy => up().kubectl.clone(),
            Self::Debian => program("debian-kubectl"),
        }
    }

    fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Newest | Self::Debian => &[],
            Self::NewestSpdy => &[
                ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"),
                ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false"),
            ],
        }
    }

    /// Short, for names of namespaces.
    fn letter(self) -> char {
        match self {
            Self::Newest => 'n',
            Self::NewestSpdy => 's',
            Self::Debian => 'o',
        }
    }
}

/// Runs the list `e2e/same_as_direct/NAME.txt` with each of the clients, at the same time; fails with every difference
/// found.
pub fn same_as_direct(name: &str, clients: &[Client]) {
    let reports: String = thread::scope(|scope| {
        let running: Vec<_> = clients.iter().map(|client| scope.spawn(|| compare(name, *client))).collect();
        running.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(reports.is_empty(), "{reports}");
}

/// Gives a report, which is empty if all is as it should be.
fn compare(name: &str, client: Client) -> String {
    let text = fs::read_to_string(data().join(format!("{name}.txt"))).unwrap();
    let entries = list::parse(&text);
    let sides = [Way::Direct, Way::Hawser].map(|way| Side::new(name, client, way));
    let mut report = String::new();
    let mut steps = 0;
    for entry in &entries {
        let (direct, through) = both(entry, &sides, client);
        for ((step, direct), through) in entry.steps_of(client).zip(direct).zip(through) {
            steps += 1;
            if let Some(fault) = fault(step, &direct, &through) {
                let Step { line, command, .. } = step;
                writeln!(report, "\n{client:?} {name}.txt:{line} ({}): {command}\n{fault}", entry.name)
                    .unwrap();
            }
        }
    }
    assert!(steps > 0, "{name}.txt has no commands for {client:?}");
    report
}

/// Runs an entry's commands on both sides: at the same time, or one side after the other where the entry changes what a
/// cluster has only once.
fn both(entry: &Entry, sides: &[Side; 2], client: Client) -> (Vec<Ran>, Vec<Ran>) {
    let [direct, through] = sides;
    let commands = |side: &Side| entry.steps_of(client).map(|step| side.scrubbed(&step.command)).collect();
    let cleanup = || {
        for command in &entry.cleanup {
            // In the direct side's environment, for both sides' names.
            for side in sides {
                let _cleaned = direct.shell(&command.replace("$NS", &side.namespace));
            }
        }
    };
    cleanup();
    let results = if entry.in_turn {
        (commands(direct), commands(through))
    } else {
        thread::scope(|scope| {
            let direct = scope.spawn(|| commands(direct));
            let through = commands(through);
            (direct.join().unwrap(), through)
        })
    };
    cleanup();
    results
}

/// What is wrong with a pair of results, if anything.
fn fault(step: &Step, direct: &Ran, through: &Ran) -> Option<String> {
    let as_expected = match &step.expected {
        Expected::Success => direct.code == 0,
        Expected::Failure => direct.code != 0,
        Expected::Different { direct: one, through: other } => {
            let sides = [("directly", one, direct), ("through Hawser", other, through)];
            let faults = sides.into_iter().filter_map(|(way, expected, ran)| {
                let found = format!("{}\n{}{}", ran.code, ran.stdout, ran.stderr);
                let text = || format!("{way}, - expected, + found:\n{}\n", difference(expected, &found));
                (*expected != found).then(text)
            });
            return Some(faults.collect::<String>()).filter(|text| !text.is_empty());
        }
    };
    if !as_expected {
        return Some(format!("directly, exit code {}:\n{}{}", direct.code, direct.stdout, direct.stderr));
    }
    if direct == through {
        return None;
    }
    let mut text = String::new();
    if direct.code != through.code {
        writeln!(text, "exit code {} directly, {} through Hawser", direct.code, through.code).unwrap();
    }
    for (stream, direct, through) in
        [("stdout", &direct.stdout, &through.stdout), ("stderr", &direct.stderr, &through.stderr)]
    {
        if direct != through {
            writeln!(text, "{stream}, - directly, + through Hawser:\n{}", difference(direct, through))
                .unwrap();
        }
    }
    Some(text)
}

fn difference(direct: &str, through: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["direct", "through"].map(|name| folder.path().join(name));
    fs::write(&one, direct).unwrap();
    fs::write(&two, through).unwrap();
    let found = Command::new("diff").args(["-U1"]).arg(one).arg(two).output().unwrap();
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    text.lines().skip(2).take(DIFFERENCE_LINES_MAX).collect::<Vec<_>>().join("\n")
}

/// One way to the cluster: a namespace, a folder with the manifests, and a shell in which `kubectl` goes that way.
struct Side {
    way: Way,
    namespace: String,
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
    /// What has another name on the other side.
    own_names: Vec<(String, &'static str)>,
}

impl Side {
    fn new(list: &str, client: Client, way: Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Of one length, so that tables have columns of one width.
        let side = match way {
            Way::Direct => 'd',
            Way::Hawser => 'h',
        };
        let namespace = format!("same-{list}-{}{side}", client.letter());
        fresh_namespace(&namespace);
        copy_data(&path("work"));
        fs::create_dir(path("bin")).unwrap();
        symlink(client.kubectl(), path("bin/kubectl")).unwrap();
        let kubeconfig = path("kubeconfig");
        let server = write_kubeconfig(way, &namespace, &kubeconfig);
        let mut variables = vec![
            ("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path("bin").display())),
            ("HOME", path("home").display().to_string()),
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("BASH_ENV", path("work/helpers.sh").display().to_string()),
            ("IMAGE", up().cluster().image.clone()),
            ("NS", namespace.clone()),
            ("TERM", "dumb".to_owned()),
        ];
        variables.extend(client.variables().iter().map(|(name, value)| (*name, (*value).to_owned())));
        let own_names = vec![
            (folder.path().display().to_string(), "FOLDER"),
            (namespace.clone(), "NAMESPACE"),
            (server.clone(), "SERVER"),
            (server.trim_start_matches("https://").to_owned(), "SERVER"),
        ];
        Self { way, namespace, folder, variables, own_names }
    }

    /// Runs a command line and scrubs what it printed.
    fn scrubbed(&self, command: &str) -> Ran {
        let Ran { stdout, stderr, code } = self.shell(command);
        Ran { stdout: self.scrub(stdout), stderr: self.scrub(stderr), code }
    }

    /// Output goes to files: a process that the command leaves behind does not hold up its end.
    fn shell(&self, line: &str) -> Ran {
        let mut command = match self.way {
            Way::Direct => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{}", up().cluster().netns)).arg("timeout");
                command
            }
            Way::Hawser => Command::new("timeout"),
        };
        let [out, err] = ["stdout", "stderr"].map(|name| self.folder.path().join(name));
        let status = command
            .args(["--kill-after=5", COMMAND_SECONDS_MAX, "bash", "-o", "pipefail", "-c", line])
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path().join("work"))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .status()
            .unwrap();
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Ran { stdout: text(&out), stderr: text(&err), code: status.code().unwrap_or(-1) }
    }

    fn scrub(&self, text: String) -> String {
        if text.is_empty() {
            return text;
        }
        let text = self.own_names.iter().fold(text, |text, (name, word)| text.replace(name, word));
        let script = data().join("scrub.sed");
        let scrubbed = run_with(Command::new("sed").arg("-E").arg("-f").arg(script), text.as_bytes());
        assert_eq!(scrubbed.code, 0, "scrub.sed: {}", scrubbed.stderr);
        scrubbed.stdout
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        let _gone = crate::run(&mut up().kubectl(Way::Direct, &args));
    }
}

fn fresh_namespace(namespace: &str) {
    let direct = |args: &[&str]| up().kubectl(Way::Direct, args);
    let _gone = ok(&mut direct(&["delete", "namespace", namespace, "--ignore-not-found"]));
    let _made = ok(&mut direct(&["create", "namespace", namespace]));
    until("default service account", std::time::Duration::from_secs(30), || {
        crate::run(&mut direct(&["-n", namespace, "get", "serviceaccount", "default"])).code == 0
    });
}

/// The manifests with the test image's name in place of IMAGE, and the shell helpers.
fn copy_data(into: &Path) {
    fs::create_dir(into).unwrap();
    fs::copy(data().join("helpers.sh"), into.join("helpers.sh")).unwrap();
    for file in fs::read_dir(data().join("manifests")).unwrap() {
        let file = file.unwrap();
        let text = fs::read_to_string(file.path()).unwrap().replace("IMAGE", &up().cluster().image);
        fs::write(into.join(file.file_name()), text).unwrap();
    }
}

/// An administrator's kubeconfig with this namespace; gives the server's address.
fn write_kubeconfig(way: Way, namespace: &str, path: &Path) -> String {
    let source = match way {
        Way::Direct => &up().cluster().direct_kubeconfig,
        Way::Hawser => &up().admin_kubeconfig,
    };
    let config = |file: &Path, args: &[&str]| ok(up().kubectl_as(file, &["config"]).args(args));
    fs::write(path, config(source, &["view", "--flatten", "--minify", "--raw"])).unwrap();
    let _set = config(path, &["set-context", "--current", "--namespace", namespace]);
    config(path, &["view", "--output", "jsonpath={.clusters[0].cluster.server}"])
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/same_as_direct")
}

const COMMAND_SECONDS_MAX: &str = "60";
const DIFFERENCE_LINES_MAX: usize = 40;
