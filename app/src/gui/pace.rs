//! Processor time per frame while slices are scrolled, for `tests/bench/frames.py`: nothing of this runs otherwise.

use std::path::PathBuf;

use eframe::egui::Context;
use viewer::Plane;

use super::App;
use crate::commands::Command;

/// Frames before the first that counts: pictures are made for the first time, buffers grow.
const WARM_UP: usize = 20;
/// Frames that count.
const FRAMES: usize = 400;
/// Slices scrolled one way before the other.
const SWEEP: usize = 50;

/// Times frames once everything is open.
#[derive(Debug)]
pub(super) struct Pace {
    /// Where the times go.
    out: PathBuf,
    last: Option<Clock>,
    /// Milliseconds of the window's thread, and of all threads.
    taken: Vec<[f64; 2]>,
}

/// Processor time so far, seconds.
#[derive(Clone, Copy, Debug)]
struct Clock {
    thread: f64,
    process: f64,
}

impl Clock {
    #[cfg(target_os = "linux")]
    fn now() -> Option<Self> {
        use rustix::time::{ClockId, clock_gettime};
        let seconds = |id| {
            let t = clock_gettime(id);
            t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
        };
        Some(Self { thread: seconds(ClockId::ThreadCPUTime), process: seconds(ClockId::ProcessCPUTime) })
    }

    #[cfg(not(target_os = "linux"))]
    fn now() -> Option<Self> {
        None
    }
}

impl Pace {
    pub(super) fn new(out: PathBuf) -> Self {
        Self { out, last: None, taken: Vec::new() }
    }
}

impl App {
    /// Once per frame: notes what the frame before took, and moves all slices by one.
    pub(super) fn tend_pace(&mut self, ctx: &Context) {
        if self.pace.is_none() {
            return;
        }
        ctx.request_repaint();
        let is_ready = !self.document.is_empty() && !self.is_busy() && self.has_full_volume_picture();
        let Some(pace) = self.pace.as_mut().filter(|_| is_ready) else { return };
        let Some(now) = Clock::now() else { return };
        if let Some(last) = pace.last {
            pace.taken.push([now.thread - last.thread, now.process - last.process].map(|s| s * 1000.0));
        }
        pace.last = Some(now);
        let is_forth = (pace.taken.len() / SWEEP).is_multiple_of(2);
        let steps = if is_forth { 1 } else { -1 };
        if pace.taken.len() < WARM_UP + FRAMES {
            for plane in Plane::ALL {
                self.document.scroll(plane, steps);
            }
            return;
        }
        let frames = pace.taken.split_off(WARM_UP);
        let text = serde_json::json!({"thread_and_process_ms": frames}).to_string();
        if let Err(error) = formats::atomic::write_bytes(&pace.out, text.as_bytes()) {
            self.complain("Writing the times of frames", &error.into());
        }
        self.pace = None;
        self.command(Command::Quit);
    }
}
