//! Panics, hangs and balloons become findings.
//!
//! libFuzzer sees crashes and, by its flags, hangs. Here are the two things it cannot see. Memory: every allocation is
//! counted, and the process aborts at the one that exceeds the rule "64 MiB + 4 × the bytes present". Panics: the hook
//! of libfuzzer-sys aborts at once, also for a panic that the program fences and turns into an error (the picture
//! decoders); so the hook only takes notes, and what leaves the code under test aborts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, Once};

/// What any file may cost beside its own size.
const FREE_BYTES: usize = 64 << 20;
/// What each byte present may cost.
const BYTES_PER_BYTE: usize = 4;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static CEILING: AtomicUsize = AtomicUsize::new(usize::MAX);
static REPORTED: AtomicBool = AtomicBool::new(false);

fn take(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    let ceiling = CEILING.load(Relaxed);
    if now > ceiling && !REPORTED.swap(true, Relaxed) {
        CEILING.store(usize::MAX, Relaxed); // The report itself allocates.
        eprintln!("==fence== memory: {bytes} more bytes make {now}, {} over the rule", now - ceiling);
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }
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
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as for this method.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());
static HOOK: Once = Once::new();

/// Memory without a rule: for comparisons, where only panics count.
pub const ANY: usize = usize::MAX;

/// Runs the code under test over `present` bytes of input: aborts when a panic leaves it or it allocates too much.
pub fn fenced<T>(present: usize, body: impl FnOnce() -> T) -> T {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            // Names of functions are looked up in many megabytes of debug information, which are not the reader's.
            let ceiling = CEILING.swap(usize::MAX, Relaxed);
            let before = NOW.load(Relaxed);
            let trace = std::backtrace::Backtrace::force_capture();
            *LAST_PANIC.lock().unwrap_or_else(|e| e.into_inner()) = format!("{info}\n{trace}");
            let kept = NOW.load(Relaxed).saturating_sub(before);
            CEILING.store(ceiling.saturating_add(kept), Relaxed);
        }));
    });
    let allowed = BYTES_PER_BYTE.saturating_mul(present).saturating_add(FREE_BYTES);
    CEILING.store(NOW.load(Relaxed).saturating_add(allowed), Relaxed);
    let result = catch_unwind(AssertUnwindSafe(body));
    CEILING.store(usize::MAX, Relaxed);
    result.unwrap_or_else(|_| {
        eprintln!("==fence== {}", LAST_PANIC.lock().unwrap_or_else(|e| e.into_inner()));
        std::process::abort()
    })
}
