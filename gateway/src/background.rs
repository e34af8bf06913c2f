//! Work that may wait: threads that give way to those which a publisher waits for.

/// Lowers the calling thread behind the others of this process, as long as these have something to do. On Linux niceness is a
/// thread's own ([setpriority(2)](https://man7.org/linux/man-pages/man2/setpriority.2.html), "C library/kernel differences").
pub(crate) fn give_way() {
    const NICENESS: i32 = 10;
    // A system that forbids it is as it was.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
