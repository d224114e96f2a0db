//! The socket between a scripted kernel and the rings.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

const KEY: CidKey = CidKey::from_bytes([3; 8]);
const RING_MAX: usize = 3;

/// Delivers one batch per poll; each entry is one buffer with datagrams of equal length (the last may
/// be shorter).
#[derive(Debug, Default)]
struct Kernel(Mutex<VecDeque<Vec<Vec<Vec<u8>>>>>);

impl AsyncUdpSocket for Kernel {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unreachable!("nothing is sent here")
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        unreachable!("nothing is sent here")
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(batch) = self.0.lock().pop_front() else { return Poll::Pending };
        for (at, datagrams) in batch.iter().enumerate() {
            let joined = datagrams.concat();
            bufs[at][..joined.len()].copy_from_slice(&joined);
            meta[at] = RecvMeta {
                addr: (Ipv4Addr::LOCALHOST, 1000 + u16::try_from(at).unwrap()).into(),
                len: joined.len(),
                stride: datagrams[0].len(),
                ..RecvMeta::default()
            };
        }
        Poll::Ready(Ok(batch.len()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn hub() -> HandoverHub {
    HandoverHub::new(HandoverConfig {
        workers: 2,
        generation: 1,
        process: 9,
        key: KEY,
        ring_datagrams_max: RING_MAX,
    })
}

fn socket(hub: &HandoverHub, worker: usize, script: Vec<Vec<Vec<Vec<u8>>>>) -> HandoverSocket {
    HandoverSocket::new(Arc::new(Kernel(Mutex::new(script.into()))), hub.clone(), hub.owner(worker).unwrap())
}

fn owner(worker: u16) -> Owner {
    Owner { generation: 1, process: 9, worker }
}

/// A short-header packet of a connection of `owner`, marked to be recognised.
fn short(owner: Owner, mark: u8) -> Vec<u8> {
    [&[0x41][..], &KEY.seal([mark; 4], owner), &[mark; 11]].concat()
}

fn long(first: u8, version: u32, owner: Owner) -> Vec<u8> {
    [&[first][..], &version.to_be_bytes(), &[8], &KEY.seal([0; 4], owner), &[0; 30]].concat()
}

/// Polls once: the datagrams received, in order, each with the port it came from.
fn poll(socket: &HandoverSocket, cx: &mut Context<'_>) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut storage = vec![[0_u8; 2048]; 8];
    let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
    let mut meta = vec![RecvMeta::default(); bufs.len()];
    let Poll::Ready(received) = socket.poll_recv(cx, &mut bufs, &mut meta) else { return None };
    let received = received.unwrap();
    assert!(received > 0, "ready means that something came");
    let mut all = Vec::new();
    for (buf, meta) in bufs.iter().zip(&meta).take(received) {
        all.extend(buf[..meta.len].chunks(meta.stride).map(|datagram| (meta.addr.port(), datagram.to_vec())));
    }
    Some(all)
}

#[test]
fn own_datagrams_pass_and_foreign_ones_reach_their_owner() {
    let hub = hub();
    let (mine, theirs) = (|mark| short(owner(0), mark), |mark| short(owner(1), mark));
    let mut shorter = mine(5);
    shorter.pop();
    let script = vec![
        vec![vec![theirs(1), mine(2), theirs(3), mine(4), shorter.clone()], vec![theirs(6)], vec![mine(7)]],
        vec![vec![mine(8)]],
    ];
    let socket_0 = socket(&hub, 0, script);
    let socket_1 = socket(&hub, 1, vec![]);
    let cx = &mut Context::from_waker(Waker::noop());
    let kept = vec![(1000, mine(2)), (1000, mine(4)), (1000, shorter), (1002, mine(7))];
    assert_eq!(poll(&socket_0, cx), Some(kept));
    assert_eq!(poll(&socket_0, cx), Some(vec![(1000, mine(8))]));
    assert_eq!(poll(&socket_0, cx), None);
    let handed_over = vec![(1000, theirs(1)), (1000, theirs(3)), (1001, theirs(6))];
    assert_eq!(poll(&socket_1, cx), Some(handed_over));
    assert_eq!(poll(&socket_1, cx), None);
    assert_eq!(hub.stats(), HandoverStats { handed_over: 3, ..HandoverStats::default() });
}

#[test]
fn the_owner_is_woken() {
    let hub = hub();
    let socket_0 = socket(&hub, 0, vec![vec![vec![short(owner(1), 1)]]]);
    let socket_1 = socket(&hub, 1, vec![]);
    let wakes = Arc::new(Wakes::default());
    let waker = Arc::clone(&wakes).into();
    assert_eq!(poll(&socket_1, &mut Context::from_waker(&waker)), None);
    poll(&socket_0, &mut Context::from_waker(Waker::noop()));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_full_ring_drops_and_counts_and_takes_more_once_read() {
    let hub = hub();
    let many = |count| vec![(0..count).map(|mark| short(owner(1), mark)).collect::<Vec<_>>()];
    let socket_0 = socket(&hub, 0, vec![many(5), many(2)]);
    let socket_1 = socket(&hub, 1, vec![]);
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(poll(&socket_0, cx), None);
    assert_eq!(hub.stats(), HandoverStats { handed_over: 3, ring_full: 4, owner_gone: 0 });
    assert_eq!(poll(&socket_1, cx).unwrap().len(), RING_MAX);
    let socket_0 = socket(&hub, 0, vec![many(1)]);
    assert_eq!(poll(&socket_0, cx), None);
    assert_eq!(hub.stats().handed_over, 4);
}

#[test]
fn nothing_is_kept_for_an_owner_that_is_gone() {
    let hub = hub();
    drop(socket(&hub, 1, vec![]));
    let socket_0 = socket(&hub, 0, vec![vec![vec![short(owner(1), 1)]]]);
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(poll(&socket_0, cx), None);
    assert_eq!(hub.stats().owner_gone, 1);
    assert_eq!(poll(&socket(&hub, 1, vec![]), cx), None);
}

#[test]
fn a_flood_of_foreign_datagrams_lets_other_tasks_run() {
    let hub = hub();
    let batch = vec![vec![short(owner(1), 1)]];
    let socket_0 = socket(&hub, 0, vec![batch; FOREIGN_BATCHES_MAX + 1]);
    let wakes = Arc::new(Wakes::default());
    let waker = Arc::clone(&wakes).into();
    let cx = &mut Context::from_waker(&waker);
    assert_eq!(poll(&socket_0, cx), None);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "it comes back by itself");
    assert_eq!(hub.stats().owner_gone, FOREIGN_BATCHES_MAX as u64);
}

#[test]
fn kernel_and_ring_take_turns() {
    let hub = hub();
    let own = |mark| vec![vec![short(owner(0), mark)]];
    let socket_0 = socket(&hub, 0, vec![own(1), own(2)]);
    let lost = |mark| vec![vec![short(owner(0), mark)]];
    let socket_1 = socket(&hub, 1, vec![lost(8), lost(9)]);
    let cx = &mut Context::from_waker(Waker::noop());
    poll(&socket_1, cx);
    let marks = |received: Option<Vec<(u16, Vec<u8>)>>| -> Vec<u8> {
        received.unwrap_or_default().iter().map(|(_, datagram)| datagram[datagram.len() - 1]).collect()
    };
    assert_eq!(marks(poll(&socket_0, cx)), [1]);
    assert_eq!(marks(poll(&socket_0, cx)), [8, 9]);
    assert_eq!(marks(poll(&socket_0, cx)), [2]);
    assert_eq!(poll(&socket_0, cx), None);
}

#[test]
fn only_ids_a_server_chose_are_followed() {
    let hub = hub();
    let foreign = |datagram: &[u8]| hub.foreign(owner(0), datagram);
    let theirs = owner(1);
    let followed = [
        ("short header", short(theirs, 1)),
        ("Handshake", long(0xe0, 1, theirs)),
        ("short header without the fixed bit", [&[0x01][..], &short(theirs, 1)[1..]].concat()),
    ];
    for (what, datagram) in followed {
        assert_eq!(foreign(&datagram), Some(1), "{what}");
    }
    let mut other_length = long(0xe0, 1, theirs);
    other_length[5] = 20;
    let left_alone = [
        ("own", short(owner(0), 1)),
        ("Initial", long(0xc0, 1, theirs)),
        ("0-RTT", long(0xd0, 1, theirs)),
        ("Retry", long(0xf0, 1, theirs)),
        ("version negotiation", long(0xe0, 0, theirs)),
        ("id of another length", other_length),
        ("worker that does not exist", short(owner(2), 1)),
        ("another generation", short(Owner { generation: 2, ..theirs }, 1)),
        ("another process", short(Owner { process: 8, ..theirs }, 1)),
        ("nothing", vec![]),
    ];
    for (what, datagram) in left_alone {
        assert_eq!(foreign(&datagram), None, "{what}");
    }
    for whole in [short(theirs, 1)[..9].to_vec(), long(0xe0, 1, theirs)[..14].to_vec()] {
        assert_eq!(foreign(&whole), Some(1));
        for cut in 0..whole.len() {
            assert_eq!(foreign(&whole[..cut]), None, "cut to {cut}");
        }
    }
}
