//! How lists travel: with their bound checked before anything is allocated for them, and byte strings
//! as one piece rather than byte by byte. The bytes are those of plain postcard.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeSeq as _, Serializer};

/// Longest list of fields, groups, values or names in a message.
pub const LIST_MAX: usize = 4096;

/// Most extensions of a message.
pub const EXTENSIONS_MAX: usize = 64;

/// `#[serde(with = "list")]`: a list of up to [`LIST_MAX`] items.
pub(super) mod list {
    use super::{DeserializeOwned, Deserializer, LIST_MAX, Serialize, Serializer, read_list, write_list};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(items: &[T], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.len(), items.iter(), to)
    }

    pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        read_list::<T, D, LIST_MAX>(from)
    }
}

/// `#[serde(with = "fields")]`: header fields, names with byte strings, up to [`LIST_MAX`]. What is no field of HTTP is no
/// message.
pub(super) mod fields {
    use std::fmt;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Deserializer, Error, LIST_MAX, RefBytes, SeqAccess, Serializer, Visitor, write_list};

    pub(crate) fn serialize<S: Serializer>(fields: &HeaderMap, to: S) -> Result<S::Ok, S::Error> {
        let pairs = fields.iter().map(|(name, value)| (name.as_str(), RefBytes(value.as_bytes())));
        write_list::<_, _, LIST_MAX>(fields.len(), pairs, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
        from.deserialize_seq(FieldsVisitor)
    }

    struct FieldsVisitor;

    impl<'de> Visitor<'de> for FieldsVisitor {
        type Value = HeaderMap;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {LIST_MAX} header fields")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<HeaderMap, A::Error> {
            // Room for what requests have; beyond, it grows with what is really there.
            let mut fields = HeaderMap::with_capacity(pairs.size_hint().unwrap_or(0).min(USUAL_FIELDS_MAX));
            while let Some((name, value)) = pairs.next_element::<(&str, &[u8])>()? {
                if fields.len() == LIST_MAX {
                    return Err(A::Error::custom("list too long"));
                }
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(A::Error::custom)?;
                let value = HeaderValue::from_bytes(value).map_err(A::Error::custom)?;
                fields.try_append(name, value).map_err(A::Error::custom)?;
            }
            Ok(fields)
        }
    }

    const USUAL_FIELDS_MAX: usize = 32;
}

/// `#[serde(with = "extensions")]`: numbers with byte strings, up to [`EXTENSIONS_MAX`].
pub(super) mod extensions {
    use super::{ByteString, Deserializer, EXTENSIONS_MAX, RefBytes, Serializer, read_list, write_list};

    pub(crate) fn serialize<S: Serializer>(items: &[(u16, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        let pairs = items.iter().map(|(number, value)| (number, RefBytes(value)));
        write_list::<_, _, EXTENSIONS_MAX>(items.len(), pairs, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u16, Vec<u8>)>, D::Error> {
        let items = read_list::<(u16, ByteString), D, EXTENSIONS_MAX>(from)?;
        Ok(items.into_iter().map(|(number, value)| (number, value.0)).collect())
    }
}

/// `#[serde(with = "named_lists")]`: names with lists of strings, every list up to [`LIST_MAX`].
pub(super) mod named_lists {
    use super::{BoundedList, Deserializer, LIST_MAX, RefList, Serializer, read_list, write_list};

    pub(crate) fn serialize<S: Serializer>(
        items: &[(String, Vec<String>)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let pairs = items.iter().map(|(name, values)| (name, RefList(values)));
        write_list::<_, _, LIST_MAX>(items.len(), pairs, to)
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
    use super::{ByteString, Deserializer, LIST_MAX, RefBytes, Serializer, read_list, write_list};

    pub(crate) fn serialize<S: Serializer>(items: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        write_list::<_, _, LIST_MAX>(items.len(), items.iter().map(|bytes| RefBytes(bytes)), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let items = read_list::<ByteString, D, LIST_MAX>(from)?;
        Ok(items.into_iter().map(|bytes| bytes.0).collect())
    }
}

fn write_list<T: Serialize, S: Serializer, const MAX: usize>(
    len: usize,
    items: impl Iterator<Item = T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    if len > MAX {
        return Err(S::Error::custom("list too long"));
    }
    let mut list = to.serialize_seq(Some(len))?;
    for item in items {
        list.serialize_element(&item)?;
    }
    list.end()
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

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ByteString, E> {
                Ok(ByteString(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Whole)
    }
}

/// Borrowed twin of [`ByteString`].
struct RefBytes<'a>(&'a [u8]);

impl Serialize for RefBytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
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
