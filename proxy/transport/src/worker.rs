//! One thread per core, each with a runtime of its own.
//!
//! A worker owns what its connections need (listener, QUIC endpoint, buffers) and shares nothing
//! that must be locked on the way of a request. It runs until its future returns, which is expected
//! soon after its [`Scope`] ends.

use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{io, sync::mpsc};

use hawser_kube::close::CloseReason;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::affinity::{cores, pin_current_thread};
use crate::config::WorkersConfig;
use crate::error::TransportError;
use crate::scope::Scope;

/// What a worker knows of itself.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Index of this worker, from 0.
    pub id: usize,
    /// How many workers there are.
    pub count: usize,
    /// Ends when this worker shall stop.
    pub scope: Scope,
}

/// The running workers of this process.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `config.count` threads, each below `scope`, and runs `f(worker)` on each until its
    /// future returns. The future may be `!Send` and may use `tokio::task::spawn_local`.
    ///
    /// # Errors
    /// [`TransportError::Start`] when the system refuses a thread, a runtime or the pinning; the
    /// workers started before are told to shut down and have ended.
    pub fn start<F, Fut>(scope: &Scope, config: &WorkersConfig, f: F) -> Result<Self, TransportError>
    where
        F: Fn(Worker) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let f = Arc::new(f);
        let cores = cores();
        let mut workers = Self { threads: Vec::with_capacity(config.count) };
        for id in 0..config.count {
            let worker = Worker { id, count: config.count, scope: scope.child() };
            let core = config.pin.then(|| cores[id % cores.len()]);
            match start_one(scope, worker, core, &config.name, Arc::clone(&f)) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    scope.cancel(CloseReason::Shutdown);
                    // The failure to start is the news; a panic on the way down adds nothing.
                    workers.join().ok();
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    /// Waits until every worker has ended.
    ///
    /// # Errors
    /// [`TransportError::Panicked`] with the first worker that panicked.
    pub fn join(self) -> Result<(), TransportError> {
        let mut outcome = Ok(());
        for (worker, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() && outcome.is_ok() {
                outcome = Err(TransportError::Panicked { worker });
            }
        }
        outcome
    }
}

/// Runs a future on the calling thread until it returns: the main loop of an agent or a command.
/// `tokio::task::spawn_local` works inside.
///
/// # Errors
/// When the system refuses a runtime.
pub fn run<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = runtime()?;
    Ok(LocalSet::new().block_on(&runtime, future))
}

fn start_one<F, Fut>(
    all: &Scope,
    worker: Worker,
    core: Option<usize>,
    name: &str,
    f: Arc<F>,
) -> Result<JoinHandle<()>, TransportError>
where
    F: Fn(Worker) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let id = worker.id;
    let (ready, started) = mpsc::sync_channel(1);
    let others = StopOnPanic(all.clone());
    let failed = |what, source| TransportError::Start { worker: id, what, source };
    let thread = thread::Builder::new()
        .name(format!("{name}-{id}"))
        .spawn(move || {
            let prepared = prepare(core);
            let runtime = match prepared {
                Ok(runtime) => runtime,
                Err(refused) => {
                    ready.send(Err(refused)).ok(); // the starter waits for exactly this message
                    return;
                }
            };
            ready.send(Ok(())).ok();
            let _others = others; // moved in, so that it is dropped by a panic below
            LocalSet::new().block_on(&runtime, f(worker));
        })
        .map_err(|source| failed("cannot start a thread", source))?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err((what, source))) => Err(failed(what, source)),
        Err(gone) => Err(failed("thread ended while starting", io::Error::other(gone))),
    }
}

fn prepare(core: Option<usize>) -> Result<Runtime, (&'static str, io::Error)> {
    if let Some(core) = core {
        pin_current_thread(core).map_err(|e| ("cannot be pinned to its core", e))?;
    }
    runtime().map_err(|e| ("cannot build a runtime", e))
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A worker that panics takes the process down in order rather than leaving a core unserved.
struct StopOnPanic(Scope);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.cancel(CloseReason::Shutdown);
        }
    }
}
