//! The C library's allocator: how much it sets aside, and when it gives back.

/// Gives the system back what was freed. The store's pages live long among much that does not, and the C library keeps the pieces between
/// them; after a backlog, or many small jobs, that is most of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no safe interface for it")]
pub(crate) fn give_memory_back() {
    // SAFETY: malloc_trim takes an integer and may be called at any time, by any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give it back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_memory_back() {}

/// Bounds the memory that the C library's allocator sets aside for threads: by default each of ours may get an arena of its own, and what one
/// frees in another's stays there. Only before the first thread is started: from the first arena on the number stands.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator's settings have no safe interface")]
pub(crate) fn bound_arenas() {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let arenas = i32::try_from(cores.max(2)).unwrap_or(i32::MAX);
    // SAFETY: mallopt takes two integers and may be called at any time. Where it refuses, the allocator keeps its own number.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

/// Other allocators have no such setting.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn bound_arenas() {}
