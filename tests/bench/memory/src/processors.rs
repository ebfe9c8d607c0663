//! The processors this program may use, and a thread's stay on one of them.

/// The numbers of the processors that this program may use.
pub fn allowed() -> Vec<usize> {
    let set = affinity();
    // SAFETY: a set that was filled, and numbers within it.
    (0..libc::CPU_SETSIZE as usize).filter(|number| unsafe { libc::CPU_ISSET(*number, &set) }).collect()
}

/// Keeps the calling thread on one of them, so that threads do not take turns on it while another is free.
pub fn stay_on(number: usize) {
    // SAFETY: a zeroed set is an empty one; the calling thread is 0.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(number, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

fn affinity() -> libc::cpu_set_t {
    // SAFETY: a zeroed set is an empty one, which the call fills.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    }
}
