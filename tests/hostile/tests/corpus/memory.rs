//! How much memory this process has.

/// What is resident now, in MiB.
pub fn resident_mib() -> u64 {
    line("VmRSS:")
}

/// What was resident at most, in MiB.
pub fn peak_mib() -> u64 {
    line("VmHWM:")
}

fn line(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kib >> 10
}
