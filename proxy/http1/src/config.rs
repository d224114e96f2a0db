//! The bounds of the parser. Each is checked while the bytes arrive, so that nothing past a bound is ever
//! waited for.

/// What one message may take. The defaults are those of a kube-apiserver where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole head, from the first byte of the start line to the empty line, both included.
    /// 1 MiB, as kube-apiserver's `MaxHeaderBytes`.
    pub head_bytes_max: usize,
    /// Number of header fields in a head, and of trailer fields after a chunked body.
    pub headers_max: usize,
    /// Bytes of a request target. 65 534: the longest that `http::Uri` takes, so that HTTP/2 and HTTP/1.1
    /// have one limit.
    pub target_bytes_max: usize,
    /// Bytes of a chunk-size line without its CRLF. 16: the digits of the largest size there can be.
    pub chunk_line_max: usize,
    /// Bytes of a trailer section, its empty line included.
    pub trailers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 1024 * 1024,
            headers_max: 256,
            target_bytes_max: 65_534,
            chunk_line_max: 16,
            trailers_max: 16 * 1024,
        }
    }
}
