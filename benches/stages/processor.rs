//! Processor time, as Linux counts it for a thread; elsewhere an error.

use std::time::Duration;

use crate::Failure;

/// Of this thread so far, to some milliseconds.
pub fn processor_time() -> Result<Duration, Failure> {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = counted.split_whitespace().next().unwrap_or_default();
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
