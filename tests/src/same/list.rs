//! The lists of commands: plain text, one entry after the other, each a heading and its command lines.
//!
//! ```text
//! == F10 scale                      heading; `[in turn]` at its end: not on both sides at the same time
//! kubectl scale deployment web …    must succeed; a line that ends with `\` goes on in the next
//! ! kubectl scale nothing …         must fail
//! + kubectl events                  Debian's old kubectl cannot do it (also `+!`)
//! - kubectl …                       for Debian's old kubectl only
//! ? kubectl get --as=nobody …       must differ, exactly so:
//! < 0                               directly: exit code, then what it prints
//! > 1                               through Hawser
//! ~ kubectl delete crd …            cleanup, before and after the entry, directly, not compared
//! ```

use super::Client;

/// A heading and what stands under it.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) in_turn: bool,
    pub(super) cleanup: Vec<String>,
    steps: Vec<Step>,
}

/// One command line.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) expected: Expected,
    clients: Clients,
}

/// What a command must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Succeed directly, and do the same through Hawser.
    Success,
    /// Fail directly, and do the same through Hawser.
    Failure,
    /// Exit code, output and errors of each side.
    Different { direct: String, through: String },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    All,
    Newest,
    Debian,
}

impl Entry {
    /// The commands that this client runs.
    pub(super) fn steps_of(&self, client: Client) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| match step.clients {
            Clients::All => true,
            Clients::Newest => client != Client::Debian,
            Clients::Debian => client == Client::Debian,
        })
    }
}

/// Reads a list; a mistake in it is a mistake in the test.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(heading) = text.strip_prefix("== ") {
            let in_turn = heading.strip_suffix(" [in turn]");
            let name = in_turn.unwrap_or(heading).to_owned();
            entries.push(Entry { name, in_turn: in_turn.is_some(), cleanup: Vec::new(), steps: Vec::new() });
            continue;
        }
        let entry = entries.last_mut().unwrap_or_else(|| panic!("line {line}: before the first heading"));
        if text.starts_with(['<', '>']) {
            entry.expect(text).unwrap_or_else(|| panic!("line {line}: not after a `?`"));
            continue;
        }
        let mut text = text.to_owned();
        while text.ends_with('\\') {
            let (more, _) = lines.next().unwrap_or_else(|| panic!("line {line}: nothing follows"));
            text = format!("{text}\n{more}");
        }
        let (marks, command) = match text.split_once(' ') {
            Some((marks, rest)) if marks.chars().all(|mark| "!+-?~".contains(mark)) => (marks, rest),
            _ => ("", text.as_str()),
        };
        let command = command.trim_start().to_owned();
        if marks == "~" {
            entry.cleanup.push(command);
        } else {
            entry.steps.push(Step::new(line, marks, command));
        }
    }
    entries
}

impl Step {
    fn new(line: usize, marks: &str, command: String) -> Self {
        let expected = if marks.contains('?') {
            Expected::Different { direct: String::new(), through: String::new() }
        } else if marks.contains('!') {
            Expected::Failure
        } else {
            Expected::Success
        };
        let clients = if marks.contains('+') {
            Clients::Newest
        } else if marks.contains('-') {
            Clients::Debian
        } else {
            Clients::All
        };
        Self { line, command, expected, clients }
    }
}

impl Entry {
    /// Takes a line `< TEXT` or `> TEXT` for the last step; `None` where none stands.
    fn expect(&mut self, line: &str) -> Option<()> {
        let Expected::Different { direct, through } = &mut self.steps.last_mut()?.expected else {
            return None;
        };
        let side = if line.starts_with('<') { direct } else { through };
        side.push_str(line.get(2..).unwrap_or_default());
        side.push('\n');
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let text = "# note\n== one\na b\n! c \\\n  d\n\n== two [in turn]\n~ e\n+! f g\n+ h\n-? i\n< 0\n< x\n<\n> 1\n";
        let entries = parse(text);
        let steps = |entry: &Entry, client| {
            let steps = entry.steps_of(client);
            steps.map(|step| (step.line, step.command.clone(), step.expected.clone())).collect::<Vec<_>>()
        };
        assert_eq!((entries[0].name.as_str(), entries[0].in_turn), ("one", false));
        let both = [(3, "a b".into(), Expected::Success), (4, "c \\\n  d".into(), Expected::Failure)];
        assert_eq!(steps(&entries[0], Client::Debian), both);
        assert_eq!((entries[1].name.as_str(), entries[1].in_turn), ("two", true));
        assert_eq!(entries[1].cleanup, ["e"]);
        let newest = [(9, "f g".into(), Expected::Failure), (10, "h".into(), Expected::Success)];
        assert_eq!(steps(&entries[1], Client::Newest), newest);
        let different = Expected::Different { direct: "0\nx\n\n".into(), through: "1\n".into() };
        assert_eq!(steps(&entries[1], Client::Debian), [(11, "i".into(), different)]);
    }
}
