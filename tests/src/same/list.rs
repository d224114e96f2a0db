//! The lists of commands: plain text, one entry after the other, each a heading and its command lines.
//!
//! ```text
//! == F10 scale                      heading; `[in turn]` at its end: not on both sides at the same time
//! kubectl scale deployment web …    must succeed; a line that ends with `\` goes on in the next
//! ! kubectl scale nothing …         must fail
//! + kubectl events                  Debian's old kubectl cannot do it (also `+!`)
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
    pub(super) fails: bool,
    newest_only: bool,
}

impl Entry {
    /// The commands that this client runs.
    pub(super) fn steps_of(&self, client: Client) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| client != Client::Debian || !step.newest_only)
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
        let mut text = text.to_owned();
        while text.ends_with('\\') {
            let (more, _) = lines.next().unwrap_or_else(|| panic!("line {line}: nothing follows"));
            text = format!("{text}\n{more}");
        }
        let entry = entries.last_mut().unwrap_or_else(|| panic!("line {line}: before the first heading"));
        let (marks, command) = match text.split_once(' ') {
            Some((marks, rest)) if marks.chars().all(|mark| "!+~".contains(mark)) => (marks, rest),
            _ => ("", text.as_str()),
        };
        let command = command.trim_start().to_owned();
        if marks == "~" {
            entry.cleanup.push(command);
        } else {
            let (fails, newest_only) = (marks.contains('!'), marks.contains('+'));
            entry.steps.push(Step { line, command, fails, newest_only });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let text = "# note\n== one\na b\n! c \\\n  d\n\n== two [in turn]\n~ e\n+! f g\n+ h\n";
        let entries = parse(text);
        let steps = |entry: &Entry, client| {
            let steps = entry.steps_of(client).map(|step| (step.line, step.command.clone(), step.fails));
            steps.collect::<Vec<_>>()
        };
        assert_eq!((entries[0].name.as_str(), entries[0].in_turn), ("one", false));
        assert_eq!(
            steps(&entries[0], Client::Debian),
            [(3, "a b".into(), false), (4, "c \\\n  d".into(), true)]
        );
        assert_eq!((entries[1].name.as_str(), entries[1].in_turn), ("two", true));
        assert_eq!(entries[1].cleanup, ["e"]);
        assert_eq!(steps(&entries[1], Client::Newest), [(9, "f g".into(), true), (10, "h".into(), false)]);
        assert_eq!(steps(&entries[1], Client::Debian), []);
    }
}
