//! The halves of a downstream connection stay on the worker that accepted it.

fn leave_the_worker<T: Send>(_: T) {}

fn halves_of<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send>(stream: T) {
    let (_read, write) = hawser_transport::split(stream);
    leave_the_worker(write);
}

fn main() {
    halves_of(tokio::io::duplex(1).0);
}
