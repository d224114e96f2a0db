//! How lists travel: with their bound checked before anything is allocated for them, and byte strings
//! as one piece rather than byte by byte. The bytes are those of plain postcard.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeSeq as _, Serializer};

/// Longest list of fields, groups, values or names in a message.
pub const LIST_MAX: usize = 4096;

/// Most extensions of a message.
pub const EXTENSIONS_MAX: usize = 64;

/// `#[serde(with = "list")]`: a list of up to [`LIST_MAX`] items.
pub(super) mod list {
    use super::{DeserializeOwned, Deserializer, LIST_MAX, Serialize, Serializer, read_list, write_list};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(items: &[T], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.iter(), to)
    }

    pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        read_list::<T, D, LIST_MAX>(from)
    }
}

/// `#[serde(with = "pairs")]`: names with byte strings, up to [`LIST_MAX`].
pub(super) mod pairs {
    use super::{ByteString, Deserializer, LIST_MAX, Serialize, Serializer, read_pairs, write_list};

    pub(crate) fn serialize<S: Serializer>(items: &[(String, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.iter().map(|(name, value)| (name, RefBytes(value))), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        read_pairs::<String, D, LIST_MAX>(from)
    }

    /// Borrowed twin of [`ByteString`].
    pub(crate) struct RefBytes<'a>(pub(crate) &'a [u8]);

    impl Serialize for RefBytes<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_bytes(self.0)
        }
    }

    impl From<ByteString> for Vec<u8> {
        fn from(bytes: ByteString) -> Self {
            bytes.0
        }
    }
}

/// `#[serde(with = "extensions")]`: numbers with byte strings, up to [`EXTENSIONS_MAX`].
pub(super) mod extensions {
    use super::pairs::RefBytes;
    use super::{Deserializer, EXTENSIONS_MAX, Serializer, read_pairs, write_list};

    pub(crate) fn serialize<S: Serializer>(items: &[(u16, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, EXTENSIONS_MAX>(items.iter().map(|(number, value)| (number, RefBytes(value))), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u16, Vec<u8>)>, D::Error> {
        read_pairs::<u16, D, EXTENSIONS_MAX>(from)
    }
}

/// `#[serde(with = "named_lists")]`: names with lists of strings, every list up to [`LIST_MAX`].
pub(super) mod named_lists {
    use super::{BoundedList, Deserializer, LIST_MAX, RefList, Serializer, read_list, write_list};

    pub(crate) fn serialize<S: Serializer>(
        items: &[(String, Vec<String>)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.iter().map(|(name, values)| (name, RefList(values))), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, Vec<String>)>, D::Error> {
        let items = read_list::<(String, BoundedList), D, LIST_MAX>(from)?;
        Ok(items.into_iter().map(|(name, values)| (name, values.0)).collect())
    }
}

/// `#[serde(with = "blob")]`: one byte string.
pub(super) mod blob {
    use super::{ByteString, Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        ByteString::deserialize(from).map(|bytes| bytes.0)
    }
}

/// `#[serde(with = "blobs")]`: byte strings, up to [`LIST_MAX`].
pub(super) mod blobs {
    use super::pairs::RefBytes;
    use super::{ByteString, Deserializer, LIST_MAX, Serializer, read_list, write_list};

    pub(crate) fn serialize<S: Serializer>(items: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.iter().map(|bytes| RefBytes(bytes)), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let items = read_list::<ByteString, D, LIST_MAX>(from)?;
        Ok(items.into_iter().map(Vec::from).collect())
    }
}

fn write_list<T: Serialize, S: Serializer, const MAX: usize>(
    items: impl ExactSizeIterator<Item = T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    if items.len() > MAX {
        return Err(S::Error::custom("list too long"));
    }
    let mut list = to.serialize_seq(Some(items.len()))?;
    for item in items {
        list.serialize_element(&item)?;
    }
    list.end()
}

fn read_pairs<'de, K: DeserializeOwned, D: Deserializer<'de>, const MAX: usize>(
    from: D,
) -> Result<Vec<(K, Vec<u8>)>, D::Error> {
    let items = read_list::<(K, ByteString), D, MAX>(from)?;
    Ok(items.into_iter().map(|(key, value)| (key, value.0)).collect())
}

fn read_list<'de, T: DeserializeOwned, D: Deserializer<'de>, const MAX: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: DeserializeOwned, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        // Grows with what is really there, never with what the length claims.
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom("list too long"));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Bytes that are taken in one piece, after the decoder has seen that they are there.
struct ByteString(Vec<u8>);

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = ByteString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<ByteString, E> {
                Ok(ByteString(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Whole)
    }
}

struct BoundedList(Vec<String>);

impl<'de> Deserialize<'de> for BoundedList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        list::deserialize(from).map(Self)
    }
}

/// Borrowed twin of [`BoundedList`].
struct RefList<'a>(&'a [String]);

impl Serialize for RefList<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        list::serialize(self.0, to)
    }
}
