//! Amounts as people read them.

/// Bytes in a fitting unit; exact below 10 KiB.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    if count < 10 << 10 {
        return format!("{count} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}
