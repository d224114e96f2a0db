//! One key of the configuration: what it is, what it is set to, and what it may be.

use std::{fmt, ops::RangeInclusive};

use hawser_edge::Quantity;

/// One key of the configuration.
pub(crate) struct Entry {
    /// Its path in the file.
    pub(crate) key: String,
    /// The flag that has the last word.
    pub(crate) flag: Option<&'static str>,
    pub(crate) value: Value,
    pub(crate) accepts: Accepts,
    /// A change is taken while the edge runs.
    pub(crate) live: bool,
    pub(crate) what: &'static str,
    /// What happens at the bound, where it is one.
    pub(crate) reached: &'static str,
}

impl Entry {
    pub(super) fn restart(key: &str, value: Value, accepts: impl Into<String>) -> Self {
        let accepts = Accepts::Text(accepts.into());
        Self { key: key.to_owned(), flag: None, value, accepts, live: false, what: "", reached: "" }
    }

    pub(super) fn range(self, range: RangeInclusive<Quantity>) -> Self {
        Self { accepts: Accepts::Range(range), ..self }
    }

    pub(super) fn live(self) -> Self {
        Self { live: true, ..self }
    }

    pub(super) fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) fn what(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    pub(super) fn reached(self, reached: &'static str) -> Self {
        Self { reached, ..self }
    }

    pub(super) fn in_range(&self) -> bool {
        match (&self.value, &self.accepts) {
            (Value::Quantity(value), Accepts::Range(range)) => range.contains(value),
            (Value::Text(_), _) | (_, Accepts::Text(_)) => true,
        }
    }
}

/// What a key is set to, as it could be written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Quantity(Quantity),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Quantity(quantity) => quantity.fmt(f),
        }
    }
}

/// What a key may be set to.
pub(crate) enum Accepts {
    Text(String),
    Range(RangeInclusive<Quantity>),
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Range(range) => {
                let kind = match range.start() {
                    Quantity::Count(_) => "a whole number",
                    Quantity::Bytes(_) => "bytes, such as 65536 or 64Ki,",
                    Quantity::Time(_) => "a time, such as 500ms, 90s or 1h,",
                };
                write!(f, "{kind} from {} to {}", range.start(), range.end())
            }
        }
    }
}
