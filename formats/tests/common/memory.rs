//! Counts what is allocated, and holds work to the rule: 64 MiB + 4 × the bytes really present, and seconds.
//!
//! The count is of the whole process: a program that uses this has one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

struct Counting;
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn take(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, SeqCst) + bytes, SeqCst);
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: as for this method.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: as for this method.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as for this method.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs something over a file of which `present` bytes are really there; fails when it took too much memory or time, or
/// fails at great length.
#[track_caller]
pub fn within<T>(
    path: &Path,
    present: usize,
    work: impl FnOnce(&Path) -> formats::Result<T>,
) -> formats::Result<T> {
    let before = NOW.load(SeqCst);
    PEAK.store(before, SeqCst);
    let start = Instant::now();
    let result = work(path);
    let used = PEAK.load(SeqCst) - before;
    let limit = (64 << 20) + 4 * present;
    assert!(used <= limit, "{}: {used} bytes allocated, {limit} allowed", path.display());
    assert!(start.elapsed().as_secs() < 20, "{}: took {:?}", path.display(), start.elapsed());
    if let Err(e) = &result {
        assert!(e.to_string().len() < 2000, "{}: an error of {} bytes", path.display(), e.to_string().len());
    }
    result
}
