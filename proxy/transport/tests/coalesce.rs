//! Small writes become one, none is lost, and their order stays.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hawser_transport::Coalesced;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What reached the stream below, write by write.
type Writes = Rc<RefCell<Vec<Vec<u8>>>>;

/// Takes so many bytes at a time, and none at every second attempt.
struct Below {
    writes: Writes,
    room: usize,
    stalls: bool,
    stalled: bool,
}

impl AsyncWrite for Below {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stalled = self.stalls && !self.stalled;
        if self.stalled {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = buf.len().min(self.room);
        self.writes.borrow_mut().push(buf[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn on(room: usize, stalls: bool) -> (Coalesced<Below>, Writes) {
    let writes = Writes::default();
    let below = Below { writes: Rc::clone(&writes), room, stalls, stalled: false };
    (Coalesced::new(below), writes)
}

fn lengths(writes: &Writes) -> Vec<usize> {
    writes.borrow().iter().map(Vec::len).collect()
}

fn run(test: impl Future<Output = ()>) {
    hawser_transport::run(test).unwrap();
}

#[test]
fn small_writes_are_one_at_the_flush() {
    run(async {
        let (mut stream, writes) = on(usize::MAX, false);
        for _frame in 0..10 {
            stream.write_all(&[1; 100]).await.unwrap();
        }
        assert!(lengths(&writes).is_empty());
        stream.flush().await.unwrap();
        assert_eq!(lengths(&writes), [1000]);
    });
}

#[test]
fn a_flush_lets_other_tasks_add_to_it() {
    run(async {
        let (stream, writes) = on(usize::MAX, false);
        let stream = Rc::new(tokio::sync::Mutex::new(stream));
        let (one, other) = (Rc::clone(&stream), Rc::clone(&stream));
        let flushed = tokio::task::spawn_local(async move {
            one.lock().await.write_all(&[1; 100]).await.unwrap();
            std::future::poll_fn(|cx| match one.try_lock() {
                Ok(mut stream) => Pin::new(&mut *stream).poll_flush(cx),
                Err(_) => Poll::Pending,
            })
            .await
        });
        let added = tokio::task::spawn_local(async move {
            other.lock().await.write_all(&[2; 100]).await.unwrap();
        });
        added.await.unwrap();
        flushed.await.unwrap().unwrap();
        assert_eq!(lengths(&writes), [200]);
    });
}

#[test]
fn large_writes_pass_behind_what_is_held() {
    run(async {
        let (mut stream, writes) = on(usize::MAX, false);
        stream.write_all(&[1; 100]).await.unwrap();
        stream.write_all(&[2; 20_000]).await.unwrap();
        assert_eq!(lengths(&writes), [100, 20_000]);
    });
}

#[test]
fn what_is_held_is_bounded() {
    run(async {
        let (mut stream, writes) = on(usize::MAX, false);
        for _frame in 0..5 {
            stream.write_all(&[1; 4096]).await.unwrap();
        }
        assert_eq!(lengths(&writes), [16 << 10]);
    });
}

#[test]
fn order_stays_on_a_stream_that_stalls() {
    run(async {
        let (mut stream, writes) = on(333, true);
        let mut sent = Vec::new();
        for (number, length) in [1, 500, 8191, 8192, 3, 16_384, 9000, 40_000, 7].into_iter().enumerate() {
            let piece = vec![u8::try_from(number).unwrap(); length];
            stream.write_all(&piece).await.unwrap();
            sent.extend(piece);
            if number % 3 == 0 {
                stream.flush().await.unwrap();
            }
        }
        stream.shutdown().await.unwrap();
        assert!(writes.borrow().concat() == sent);
    });
}
