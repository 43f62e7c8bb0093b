//! The engine's pages live long among much that does not: what is freed is in pieces between them.

/// Gives the system back what was freed. The C library keeps pieces between others; after a backlog, or many small jobs, that is most of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no safe interface for it")]
pub fn give_memory_back() {
    // SAFETY: malloc_trim takes an integer and may be called at any time, by any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give it back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_memory_back() {}
