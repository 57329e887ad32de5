//! The memory of this process.

/// The most memory that this process has held, in bytes: `VmHWM` of `/proc/self/status` on Linux, elsewhere `None`.
pub fn peak_memory() -> Option<u64> {
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::parse_peak;

    #[test]
    fn the_peak_is_read_where_it_is_said() {
        assert_eq!(parse_peak("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"), Some(1234 * 1024));
        assert_eq!((parse_peak("VmRSS: 1 kB"), parse_peak("VmHWM: many")), (None, None));
        assert_eq!(parse_peak(&format!("VmHWM: {} kB", u64::MAX)), None);
    }
}
