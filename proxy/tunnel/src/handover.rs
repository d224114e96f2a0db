//! Datagrams that arrive at the wrong worker.
//!
//! The kernel picks a worker by the source address. When that changes (a NAT forgets a mapping, a
//! client roams), the next datagram of a link may land on a worker that does not know the link. The
//! connection id names the owner, so the datagram goes to the owner's ring, a bounded queue that the
//! owner's socket reads along with the kernel's. Steering in the kernel makes this rare; nothing
//! depends on it.
//!
//! Only ids that this process chose are followed: those in short-header and Handshake packets. The id
//! of a first packet is the client's choice and must not aim at a worker.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use crate::cid::{CID_BYTES, CidKey, Owner};
use crate::metrics::{HandoverCounters, HandoverStats};

/// What the workers of a process have in common.
#[derive(Clone)]
pub struct HandoverConfig {
    /// Number of workers.
    pub workers: u16,
    /// Generation of the configuration, in every connection id.
    pub generation: u8,
    /// This process among those that share the port, in every connection id.
    pub process: u8,
    /// Masks the connection ids.
    pub key: CidKey,
    /// Datagrams a ring holds; more are dropped and counted, and QUIC sends their contents again.
    pub ring_datagrams_max: usize,
}

/// The rings of all workers of this process.
#[derive(Clone)]
pub struct HandoverHub(Arc<Hub>);

struct Hub {
    config: HandoverConfig,
    rings: Box<[Ring]>,
    counters: HandoverCounters,
}

impl HandoverHub {
    /// A ring for each worker.
    #[must_use]
    pub fn new(config: HandoverConfig) -> Self {
        let rings = (0..config.workers).map(|_| Ring::default()).collect();
        Self(Arc::new(Hub { config, rings, counters: HandoverCounters::default() }))
    }

    /// What was handed over, and what could not be.
    #[must_use]
    pub fn stats(&self) -> HandoverStats {
        self.0.counters.snapshot()
    }

    pub(crate) fn key(&self) -> CidKey {
        self.0.config.key
    }

    /// How ids of this worker are marked; `None` if there is no such worker.
    pub(crate) fn owner(&self, worker: usize) -> Option<Owner> {
        let HandoverConfig { workers, generation, process, .. } = self.0.config;
        let worker = u16::try_from(worker).ok().filter(|&worker| worker < workers)?;
        Some(Owner { generation, process, worker })
    }

    /// The other worker that owns this datagram's connection, if it names one.
    fn foreign(&self, own: Owner, datagram: &[u8]) -> Option<u16> {
        let owner = self.0.config.key.open(own_cid(datagram)?);
        let foreign = owner.generation == own.generation
            && owner.process == own.process
            && owner.worker != own.worker
            && owner.worker < self.0.config.workers;
        foreign.then_some(owner.worker)
    }

    fn hand_over(&self, worker: u16, meta: &RecvMeta, datagram: &[u8]) {
        let counters = &self.0.counters;
        let counter = match self.ring(worker).push(self.0.config.ring_datagrams_max, meta, datagram) {
            Pushed::Taken => &counters.handed_over,
            Pushed::Full => &counters.ring_full,
            Pushed::Closed => &counters.owner_gone,
        };
        HandoverCounters::count(counter);
    }

    fn ring(&self, worker: u16) -> &Ring {
        &self.0.rings[usize::from(worker)]
    }
}

/// A worker's socket: what the kernel delivers less what belongs to others, and the worker's ring.
pub(crate) struct HandoverSocket {
    kernel: Arc<dyn AsyncUdpSocket>,
    hub: HandoverHub,
    own: Owner,
    /// Which of the two sources comes first in the next turn, so that neither starves the other.
    ring_first: AtomicBool,
}

impl HandoverSocket {
    pub(crate) fn new(kernel: Arc<dyn AsyncUdpSocket>, hub: HandoverHub, own: Owner) -> Self {
        hub.ring(own.worker).open();
        Self { kernel, hub, own, ring_first: AtomicBool::new(false) }
    }

    fn poll_ring(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<usize> {
        self.hub.ring(self.own.worker).poll_take(cx, bufs, meta)
    }

    fn poll_kernel(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..FOREIGN_BATCHES_MAX {
            let received = std::task::ready!(self.kernel.poll_recv(cx, bufs, meta))?;
            let kept = self.keep_own(bufs, meta, received);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands foreign datagrams over and moves the others to the front; returns how many buffers are
    /// left with something in them.
    fn keep_own(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta], received: usize) -> usize {
        let mut kept = 0;
        for at in 0..received {
            self.keep_own_segments(&mut bufs[at], &mut meta[at]);
            if meta[at].len > 0 {
                bufs.swap(kept, at);
                meta.swap(kept, at);
                kept += 1;
            }
        }
        kept
    }

    /// One buffer holds several datagrams of one source, all but the last of `stride` bytes.
    fn keep_own_segments(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let (mut at, mut kept) = (0, 0);
        while at < meta.len {
            let end = meta.len.min(at + stride);
            match self.hub.foreign(self.own, &buf[at..end]) {
                Some(worker) => self.hub.hand_over(worker, meta, &buf[at..end]),
                None => {
                    if kept < at {
                        buf.copy_within(at..end, kept);
                    }
                    kept += end - at;
                }
            }
            at = end;
        }
        meta.len = kept;
    }
}

impl AsyncUdpSocket for HandoverSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.kernel).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.kernel.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.ring_first.fetch_xor(true, Ordering::Relaxed) {
            match self.poll_ring(cx, bufs, meta) {
                Poll::Ready(taken) => Poll::Ready(Ok(taken)),
                Poll::Pending => self.poll_kernel(cx, bufs, meta),
            }
        } else {
            match self.poll_kernel(cx, bufs, meta) {
                Poll::Ready(received) => Poll::Ready(received),
                Poll::Pending => self.poll_ring(cx, bufs, meta).map(Ok),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.kernel.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.kernel.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.kernel.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.kernel.may_fragment()
    }
}

impl Drop for HandoverSocket {
    fn drop(&mut self) {
        self.hub.ring(self.own.worker).close();
    }
}

impl fmt::Debug for HandoverSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverSocket").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Many workers put in, one takes out. Locked for the length of a copy; only datagrams that went
/// astray come here.
#[derive(Default)]
struct Ring(Mutex<RingState>);

#[derive(Default)]
struct RingState {
    open: bool,
    queue: VecDeque<(RecvMeta, Box<[u8]>)>,
    reader: Option<Waker>,
}

enum Pushed {
    Taken,
    Full,
    Closed,
}

impl Ring {
    fn open(&self) {
        self.0.lock().open = true;
    }

    fn close(&self) {
        *self.0.lock() = RingState::default();
    }

    fn push(&self, datagrams_max: usize, meta: &RecvMeta, datagram: &[u8]) -> Pushed {
        let mut ring = self.0.lock();
        if !ring.open {
            return Pushed::Closed;
        }
        if ring.queue.len() >= datagrams_max {
            return Pushed::Full;
        }
        let meta = RecvMeta { len: datagram.len(), stride: datagram.len(), ..*meta };
        ring.queue.push_back((meta, datagram.into()));
        let reader = ring.reader.take();
        drop(ring);
        if let Some(reader) = reader {
            reader.wake();
        }
        Pushed::Taken
    }

    fn poll_take(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<usize> {
        let mut ring = self.0.lock();
        let mut taken = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some((of, datagram)) = ring.queue.pop_front() else { break };
            // The buffers of a reader hold the largest datagram its socket can receive.
            let len = datagram.len().min(buf.len());
            buf[..len].copy_from_slice(&datagram[..len]);
            *meta = RecvMeta { len, ..of };
            taken += 1;
        }
        if taken > 0 {
            return Poll::Ready(taken);
        }
        ring.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The destination id of a packet, where it is one that a server chose.
fn own_cid(datagram: &[u8]) -> Option<[u8; CID_BYTES]> {
    let (first, rest) = datagram.split_first()?;
    let cid = if first & LONG_HEADER == 0 {
        rest
    } else {
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first()?;
        let handshake = first & LONG_TYPE == LONG_TYPE_HANDSHAKE && *version != VERSION_NEGOTIATION;
        if !handshake || usize::from(*length) != CID_BYTES {
            return None;
        }
        rest
    };
    cid.first_chunk().copied()
}

// RFC 9000, section 17.
const LONG_HEADER: u8 = 0x80;
const LONG_TYPE: u8 = 0x30;
const LONG_TYPE_HANDSHAKE: u8 = 0x20;
const VERSION_NEGOTIATION: [u8; 4] = [0; 4];

/// Batches from the kernel that may be all foreign before the worker's other tasks get their turn.
const FOREIGN_BATCHES_MAX: usize = 8;

#[cfg(test)]
mod tests;
