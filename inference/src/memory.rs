//! How much memory there is, and how much was used.

/// Bytes that this process may still take: the system's available memory, lowered to what the control groups
/// (containers, batch jobs; version 1 and 2) leave. `None` where the system does not say.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    imp::available_bytes()
}

/// Largest resident memory of this process so far, in bytes. `None` where the system does not say.
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    imp::peak_bytes()
}

/// Resident memory of this process now, in bytes. `None` where the system does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    imp::resident_bytes()
}

/// Bytes for people: `"713 MiB"`, `"12.4 GiB"`.
#[must_use]
pub fn in_words(bytes: u64) -> String {
    const MIB: f64 = (1u64 << 20) as f64;
    let mib = bytes as f64 / MIB;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::path::{Path, PathBuf};

    fn kib_of(text: &str, key: &str) -> Option<u64> {
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    }

    pub(super) fn available_bytes() -> Option<u64> {
        let system = kib_of(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable");
        let group = super::group::available(
            &std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
            Path::new("/sys/fs/cgroup"),
        );
        system.into_iter().chain(group).min()
    }

    pub(super) fn resident_bytes() -> Option<u64> {
        kib_of(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
    }

    pub(super) fn peak_bytes() -> Option<u64> {
        kib_of(&std::fs::read_to_string(PathBuf::from("/proc/self/status")).ok()?, "VmHWM")
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(super) fn available_bytes() -> Option<u64> {
        None
    }
    pub(super) fn resident_bytes() -> Option<u64> {
        None
    }
    pub(super) fn peak_bytes() -> Option<u64> {
        None
    }
}

/// Linux control groups, both versions. Every level from the process's group up to the root may limit.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) mod group {
    use std::path::{Path, PathBuf};

    /// Folders of the process's group and its parents, for one controller, from `/proc/self/cgroup`'s text.
    /// In a container the path named there may not be visible, so that the mount's root always comes last.
    pub(crate) fn folders(membership: &str, root: &Path, controller: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let mount = if controllers.is_empty() {
                root.to_owned()
            } else if controllers.split(',').any(|c| c == controller) {
                [controllers, controller]
                    .iter()
                    .map(|c| root.join(c))
                    .find(|p| p.is_dir())
                    .unwrap_or_default()
            } else {
                continue;
            };
            if mount.as_os_str().is_empty() {
                continue;
            }
            let full = mount.join(path.trim_start_matches('/'));
            found.extend(full.ancestors().take_while(|p| p.starts_with(&mount)).map(Path::to_owned));
        }
        found
    }

    pub(crate) fn number(path: &Path) -> Option<u64> {
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// What the tightest level leaves; `None` without limits. Page cache that can be dropped counts as free.
    pub(super) fn available(membership: &str, root: &Path) -> Option<u64> {
        const NO_LIMIT: u64 = 1 << 60; // version 1 writes a huge number for "none"
        let files = [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")];
        folders(membership, root, "memory")
            .iter()
            .flat_map(|folder| files.map(|(limit, usage)| (folder, limit, usage)))
            .filter_map(|(folder, limit, usage)| {
                let limit = number(&folder.join(limit)).filter(|&n| n < NO_LIMIT)?;
                let used = number(&folder.join(usage)).unwrap_or(0);
                let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
                let cache = stat.lines().find_map(|l| {
                    l.strip_prefix("inactive_file ").or_else(|| l.strip_prefix("total_inactive_file "))
                });
                let cache = cache.and_then(|v| v.trim().parse::<u64>().ok()).unwrap_or(0);
                Some(limit.saturating_sub(used.saturating_sub(cache)))
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_group_versions_are_honoured() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        // Version 2: the parent is tighter than the leaf.
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "5\n");
        write("a/memory.max", "1000\n");
        write("a/memory.current", "400\n");
        write("a/memory.stat", "anon 1\ninactive_file 100\n");
        assert_eq!(group::available("0::/a/b\n", root.path()), Some(700));
        // Version 1, with the number that stands for no limit further up.
        write("memory/job/memory.limit_in_bytes", "5000\n");
        write("memory/job/memory.usage_in_bytes", "1000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(group::available("4:memory:/job\n3:cpu,cpuacct:/job\n", root.path()), Some(4000));
        assert_eq!(group::available("", root.path()), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_memory() {
        assert!(peak_bytes().unwrap() > 1 << 20);
        assert!(available_bytes().unwrap() > 0);
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(in_words(713 << 20), "713 MiB");
        assert_eq!(in_words(12 << 30), "12.0 GiB");
    }
}
