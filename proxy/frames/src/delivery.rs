//! What payload means once a walker has accepted it: events for the recorder, terminal sizes, the exit status.

use crate::error::Violation;
use crate::event::{Event, Sink, Stream};
use crate::exit::ErrorText;
use crate::resize::ResizeReader;

/// Receiver of the payload of both directions.
#[derive(Debug)]
pub(crate) struct Delivery {
    resize: ResizeReader,
    pub(crate) error: ErrorText,
}

/// How much of a piece of payload can be accepted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Any number of leading bytes: the payload streams.
    Byte,
    /// All or nothing: the bytes on the wire are an encoding of the whole.
    Message,
}

impl Delivery {
    pub(crate) fn new(error: ErrorText) -> Self {
        Self { resize: ResizeReader::default(), error }
    }

    /// Reports `bytes` and returns how many of them are accepted, all unless a rule is broken as well.
    pub(crate) fn data(
        &mut self,
        stream: Stream<'_>,
        bytes: &[u8],
        late: bool,
        unit: Unit,
        events: &mut Sink<'_>,
    ) -> (usize, Result<(), Violation>) {
        let mut accepted = bytes.len();
        let mut sizes = Vec::new();
        let mut result = Ok(());
        if stream == Stream::Resize {
            (accepted, result) = self.read_sizes(bytes, &mut sizes);
        }
        if result.is_err() && unit == Unit::Message {
            return (0, result);
        }
        if stream == Stream::Error {
            self.error.push(bytes);
        }
        if accepted > 0 {
            events(Event::Data { stream, bytes: &bytes[..accepted], late });
        }
        for (width, height) in sizes {
            events(Event::Resize { width, height });
        }
        (accepted, result)
    }

    fn read_sizes(&mut self, bytes: &[u8], sizes: &mut Vec<(u16, u16)>) -> (usize, Result<(), Violation>) {
        for (at, byte) in bytes.iter().enumerate() {
            match self.resize.push(*byte) {
                Ok(size) => sizes.extend(size.map(|size| (size.width, size.height))),
                Err(violation) => return (at, Err(violation)),
            }
        }
        (bytes.len(), Ok(()))
    }
}
