//! The halves of a downstream connection stay on the worker that accepted it.

fn leave_the_worker<T: Send>(_: T) {}

fn main() {
    let (read, _write) = hawser_transport::split(tokio::io::duplex(1).0);
    leave_the_worker(read);
}
