//! The store room: what Hawser remembers, as whole Kubernetes objects.
//!
//! Nothing here is on a request's path: the edge answers from tables in memory and this room feeds them. A change
//! enters through [`Store::create`], [`Store::update`], [`Store::apply`] or [`Store::delete`] (several that belong
//! together through [`Store::transact`]), becomes one revision of one monotonic counter, and comes out of every
//! [`Watch`] in that order.
//!
//! | file | noun |
//! |---|---|
//! | `store` | the handle that callers hold |
//! | `object` | keys and objects |
//! | `change` | what one write turns an object into (pure) |
//! | `list` | list options, pages and continue tokens |
//! | `watch`, `fanout` | both ends of a watch |
//! | `sqlite` | the embedded backend: a thread that writes, a thread that reads |
//! | `config`, `error`, `metrics` | as in every room |
//!
//! Promises: an answered write survives `kill -9` and, as far as the disk keeps its word, a power cut; revisions rise
//! without gaps; a page list is one snapshot however long it takes; a watch misses nothing or says so.

mod change;
mod config;
mod error;
mod fanout;
mod list;
mod metrics;
mod object;
mod sqlite;
mod store;
mod watch;

pub use change::Change;
pub use config::Options;
pub use error::StoreError;
pub use list::{List, ListOptions};
pub use metrics::Counters;
pub use object::{Key, NAME_BYTES_MAX, OBJECT_BYTES_MAX, Object};
pub use store::Store;
pub use watch::{Event, EventKind, Watch};
