//! HTTP/1.1 connections between two exchanges, and how many there may be in all.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// One of the connections there may be.
pub(crate) type Place = OwnedSemaphorePermit;

/// Idle connections, the longest idle first. Those whose time is over are closed at the next look, which the agent's own
/// questions bring about at least twice a minute.
pub(crate) struct Kept<C> {
    idle: RefCell<Vec<Idle<C>>>,
    places: Arc<Semaphore>,
}

struct Idle<C> {
    io: C,
    place: Place,
    since: Instant,
}

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self { idle: RefCell::default(), places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl<C: AsyncRead + Unpin> Kept<C> {
    /// Room for one more connection; an idle one makes way for it.
    pub(in crate::apiserver) fn place(&self) -> Option<Place> {
        let mut idle = self.idle.borrow_mut();
        if self.places.available_permits() == 0 && !idle.is_empty() {
            idle.remove(0);
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// The connection that idled least, if the server has left it open.
    pub(super) fn take(&self, now: Instant) -> Option<(C, Place)> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| now.duration_since(idle.since) < IDLE_MAX);
        while let Some(Idle { mut io, place, .. }) = idle.pop() {
            if is_silent(&mut io) {
                return Some((io, place));
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over.
    pub(super) fn put(&self, io: C, place: Place, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() == IDLE_CONNECTIONS_MAX {
            idle.remove(0);
        }
        idle.push(Idle { io, place, since: now });
    }
}

/// Neither closed by the server nor with bytes that nobody asked for.
fn is_silent(io: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0; 1];
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
}

/// All HTTP/1.1 connections to the API server, with an exchange or idle: as many as exchanges a link begins with. Beyond
/// it exchanges are refused undelivered, so that the edge tries another agent.
const CONNECTIONS_MAX: usize = 256;
/// Of them idle.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long one may idle: less than servers and load balancers commonly allow (kube-apiserver 90 s, others from 60 s), so
/// that they seldom close one that is about to be used.
const IDLE_MAX: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Keeps `count` connections, the first since `now` and each next one a second later; returns the servers' ends.
    fn filled(kept: &Kept<DuplexStream>, count: u64, now: Instant) -> Vec<DuplexStream> {
        let keep = |number| {
            let (agent, server) = duplex(64);
            kept.put(agent, kept.place().unwrap(), now + Duration::from_secs(number));
            server
        };
        (0..count).map(keep).collect()
    }

    #[test]
    fn a_connection_is_not_used_after_its_time() {
        let (kept, now) = (Kept::default(), Instant::now());
        let _servers = filled(&kept, 2, now);
        assert!(kept.take(now + IDLE_MAX).is_some(), "the one that came a second later");
        assert!(kept.take(now + IDLE_MAX).is_none());
        assert_eq!(kept.places.available_permits(), CONNECTIONS_MAX, "closed, and its place is free");
    }

    #[tokio::test]
    async fn a_connection_with_an_end_or_with_bytes_is_not_used() {
        let (kept, now) = (Kept::default(), Instant::now());
        let mut servers = filled(&kept, 3, now);
        servers[2].write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        drop(servers.remove(1));
        let (mut agent, _place) = kept.take(now).unwrap();
        assert!(kept.take(now).is_none());
        agent.write_all(b"?").await.unwrap();
        drop(agent);
        let mut received = Vec::new();
        servers[0].read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"?", "the one that was open");
    }

    #[test]
    fn only_so_many_idle() {
        let (kept, now) = (Kept::default(), Instant::now());
        let _servers = filled(&kept, IDLE_CONNECTIONS_MAX as u64 + 5, now);
        assert_eq!(kept.idle.borrow().len(), IDLE_CONNECTIONS_MAX);
        assert_eq!(kept.places.available_permits(), CONNECTIONS_MAX - IDLE_CONNECTIONS_MAX);
        assert_eq!(kept.idle.borrow()[0].since, now + Duration::from_secs(5), "the longest idle went");
    }

    #[test]
    fn an_idle_connection_makes_way() {
        let (kept, now) = (Kept::default(), Instant::now());
        let _servers = filled(&kept, 1, now);
        let places: Vec<_> = std::iter::from_fn(|| kept.place()).collect();
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(kept.idle.borrow().is_empty());
    }
}
