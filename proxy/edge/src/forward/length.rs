//! The length that an answer announces, and how much of it has come. No agent is trusted with it: over HTTP/1.1 the bytes
//! beyond it would be read as the next answer, and over HTTP/2 a shorter body would look whole.

use hawser_kube::close::CloseReason;
use http::{HeaderMap, header};

/// Bytes still to come, where the answer says how many there are.
pub(super) struct Length(Option<u64>);

impl Length {
    /// What these headers announce; `None` if that cannot be. Nothing comes of it where `bodiless`: an answer to HEAD says
    /// what a GET would bring.
    pub(super) fn announced(headers: &HeaderMap, bodiless: bool, end: bool) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(digits(value.as_bytes())?),
            (Some(_), Some(_)) => return None,
        };
        match length {
            _ if bodiless => Some(Self(None)),
            Some(1..) if end => None,
            length => Some(Self(length)),
        }
    }

    /// So many bytes have come.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), CloseReason> {
        if let Some(left) = &mut self.0 {
            let too_long = || CloseReason::BadStream("the answer is longer than announced".into());
            *left = left.checked_sub(bytes as u64).ok_or_else(too_long)?;
        }
        Ok(())
    }

    /// May the body end here?
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.0, None | Some(0))
    }
}

/// A number as HTTP writes it: digits only, no sign.
fn digits(text: &[u8]) -> Option<u64> {
    let text =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
