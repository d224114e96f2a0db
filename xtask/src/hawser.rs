//! Hawser's own part of `up`.

/// Owner of the edge's process in its mark.
pub(crate) const OWNER: &str = "edge";
