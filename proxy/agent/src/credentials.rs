//! The ServiceAccount files a pod lives on. kubelet rotates them; they are read again within a minute, and at once when
//! the API server refused what was read last.

use std::{
    cell::RefCell,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use http::HeaderValue;

/// A bearer token in a file.
pub(crate) struct TokenFile {
    path: PathBuf,
    cached: RefCell<Option<(Instant, HeaderValue)>>,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, cached: RefCell::new(None) }
    }

    /// `Bearer …`, marked as a secret. Reads the file (a projected volume: memory, not disk) once a minute; the last
    /// good value is kept while the file cannot be read.
    pub(crate) fn authorization(&self, now: Instant) -> io::Result<HeaderValue> {
        let mut cached = self.cached.borrow_mut();
        match &*cached {
            Some((read, value)) if now.duration_since(*read) < REREAD => return Ok(value.clone()),
            Some(_) | None => {}
        }
        match (self.read(), &*cached) {
            (Ok(value), _) => {
                *cached = Some((now, value.clone()));
                Ok(value)
            }
            (Err(error), Some((_, value))) => {
                tracing::warn!(path = %self.path.display(), %error, "token file");
                Ok(value.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The token's text, read now.
    pub(crate) fn text(&self) -> io::Result<String> {
        Ok(std::fs::read_to_string(&self.path)?.trim().to_owned())
    }

    pub(crate) fn forget(&self) {
        *self.cached.borrow_mut() = None;
    }

    fn read(&self) -> io::Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.text()?))
            .map_err(|_bytes| io::Error::new(io::ErrorKind::InvalidData, "the token is not text"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// client-go's own interval.
const REREAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_after_a_minute_or_when_distrusted() {
        let path = std::env::temp_dir().join(format!("hawser-token-{}", std::process::id()));
        std::fs::write(&path, "one\n").unwrap();
        let file = TokenFile::new(path.clone());
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        assert_eq!(file.authorization(start).unwrap(), "Bearer one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.authorization(start + REREAD / 2).unwrap(), "Bearer one");
        assert_eq!(file.authorization(start + REREAD).unwrap(), "Bearer two");
        std::fs::write(&path, "three").unwrap();
        file.forget();
        assert_eq!(file.authorization(start + REREAD).unwrap(), "Bearer three");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            file.authorization(start + REREAD * 3).unwrap(),
            "Bearer three",
            "the last good value is kept"
        );
    }
}
