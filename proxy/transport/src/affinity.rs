//! Which cores this process may use, and binding a thread to one.

use std::{io, mem};

/// The cores this process may run on (container limits by `cpuset` included), lowest first. Never
/// empty: where the kernel does not say, core 0 is assumed.
#[must_use]
pub fn cores() -> Vec<usize> {
    let allowed = allowed().unwrap_or_default();
    if allowed.is_empty() { vec![0] } else { allowed }
}

/// Binds the calling thread to one core.
pub(crate) fn pin_current_thread(core: usize) -> io::Result<()> {
    let set = set_of(core)?;
    // SAFETY: `set` is a valid cpu_set_t and the size passed is its size; the kernel only reads it.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn allowed() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: `set` is a valid cpu_set_t and the size passed is its size; the kernel writes no more.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..CORES_MAX).filter(|&core| contains(&set, core)).collect())
}

fn set_of(core: usize) -> io::Result<libc::cpu_set_t> {
    if core >= CORES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("core {core} is out of range")));
    }
    let mut set = empty_set();
    // SAFETY: `core` is below CPU_SETSIZE (checked above), so the bit lies inside the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    Ok(set)
}

fn contains(set: &libc::cpu_set_t, core: usize) -> bool {
    // SAFETY: callers pass `core` below CPU_SETSIZE, so the bit lies inside the set.
    unsafe { libc::CPU_ISSET(core, set) }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers; all zeroes is the empty set.
    unsafe { mem::zeroed() }
}

/// Cores a `cpu_set_t` can name.
const CORES_MAX: usize = libc::CPU_SETSIZE as usize;
