//! What a process took, where Linux tells it.

/// CPU seconds of this process, all threads; not a number where the system does not say.
pub fn cpu_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return f64::NAN };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()))
        .sum::<f64>()
        / 1e9
}

/// Megabytes by their name in `/proc/self/status`, as VmRSS (held now) or VmHWM (held at most).
pub fn megabytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
