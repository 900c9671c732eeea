//! How many threads to use, when nobody says.

/// Threads for the numerics and for networks: `SLURM_CPUS_PER_TASK` when it is set (a batch system's promise),
/// else the processors this process may run on, lowered to the control group's quota. At least 1.
#[must_use]
pub fn default_threads() -> usize {
    let promised = std::env::var("SLURM_CPUS_PER_TASK").ok().and_then(|s| s.trim().parse::<usize>().ok());
    // The standard library reads the affinity mask and the quotas of both control-group versions.
    let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    promised.filter(|&n| n > 0).unwrap_or(there)
}

/// Gives the numerics `threads` threads, named after the program. Only the first call in a process has an effect;
/// `false` when it came too late.
pub fn use_threads(threads: usize) -> bool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|n| format!("insula-numerics-{n}"))
        .build_global()
        .is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_at_least_one() {
        assert!(super::default_threads() >= 1);
    }
}
