//! One thing wrong with what an administrator wrote, told so that it can be put right at once.

use std::fmt;

use super::OBJECTS_MAX;
use super::kinds::Object;
use super::walk::join;

/// What is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as the caller named it; empty for an object that came from no file.
    pub file: String,
    /// Line of the offending key or value, from 1; 0 where there is no text.
    pub line: u32,
    /// Path of the field, such as `spec.rules[0].verbs[1]`; empty where the text is not YAML.
    pub field: String,
    /// The value found, shortened; empty where there is none to show.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl Fault {
    /// The text stops being YAML here.
    pub(super) fn syntax(file: &str, line: u32, message: String) -> Self {
        Self { file: file.to_owned(), line, field: String::new(), value: String::new(), expected: message }
    }

    /// The document goes beyond what one stream may hold.
    pub(super) fn too_many(file: &str, line: u32) -> Self {
        Self::syntax(file, line, format!("up to here more than {OBJECTS_MAX} objects: split the file"))
    }

    /// A second object with the kind, namespace and name of an earlier one.
    pub(super) fn repeated(file: &str, line: u32, place: &str, object: &Object) -> Self {
        Self {
            file: file.to_owned(),
            line,
            field: join(place, "metadata.name"),
            value: format!("\"{}\"", object.name()),
            expected: format!("one {} of this name: an earlier one has it", object.kind()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
        }
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.file.is_empty() || self.line > 0 {
            f.write_str(" ")?;
        }
        for part in [&self.field, &self.value] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.expected)
    }
}

impl std::error::Error for Fault {}
