//! Local halves: both directions at once, and never off their thread.

use hawser_transport::{run, split};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

#[test]
fn reading_waits_while_the_other_half_writes() {
    run(async {
        let (near, mut far) = duplex(16);
        let (mut read, mut write) = split(near);
        let reader = tokio::task::spawn_local(async move {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            all
        });
        tokio::task::yield_now().await;
        let writer = tokio::task::spawn_local(async move {
            write.write_all(&[7; 1000]).await.unwrap();
            write.shutdown().await.unwrap();
            write
        });
        let mut got = vec![0; 1000];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        drop(far);
        assert_eq!(got, [7; 1000]);
        assert_eq!(reader.await.unwrap(), b"answer");
        drop(writer.await.unwrap());
    })
    .unwrap();
}

#[test]
fn the_stream_closes_with_the_second_half() {
    run(async {
        let (near, mut far) = duplex(16);
        let (read, write) = split(near);
        drop(read);
        far.write_all(b"still open").await.unwrap();
        drop(write);
        assert_eq!(far.read(&mut [0; 4]).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn a_downstream_connection_cannot_leave_its_worker() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
