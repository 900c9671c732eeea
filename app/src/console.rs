//! What people see on stderr: messages, and one line of progress.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use formats::{Cancel, Task};

/// Refreshes of the progress line on a terminal: ten a second are smooth and cost nothing.
const REFRESH: Duration = Duration::from_millis(100);
/// Repeats of the same stage in a log file: often enough to see that it is alive.
const LOG_REPEAT: Duration = Duration::from_secs(10);
/// Stages that are over sooner leave no line in a log file.
const LOG_STAGE: Duration = Duration::from_secs(2);
/// The progress line stays shorter than the narrowest common terminal, so that it never wraps.
const LINE_CHARS: usize = 79;

/// Stderr, shared by all threads. On a terminal, progress is one line that refreshes; elsewhere it is plain
/// lines, a few seconds apart. Stdout is left to records and results.
#[derive(Debug)]
pub struct Console {
    quiet: bool,
    is_terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether a progress line is on screen.
    drawn: bool,
    /// When and what was last reported.
    last: (Instant, String),
}

impl Console {
    /// Stderr of this process; `quiet` keeps only warnings and errors.
    pub fn new(quiet: bool) -> Arc<Self> {
        let is_terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Arc::new(Self {
            quiet,
            is_terminal,
            state: Mutex::new(State { drawn: false, last: (Instant::now(), String::new()) }),
        })
    }

    /// A message, unless quiet.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// A warning or an error: shown even when quiet.
    pub fn complain(&self, text: &str) {
        let mut state = self.lock();
        clear(&mut state);
        // Nobody can be told that stderr is gone.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Progress of a stage of the thing called `what`.
    pub fn progress(&self, what: &str, stage: &str, fraction: f32) {
        if self.quiet {
            return;
        }
        let key = format!("{what}: {stage}");
        let now = Instant::now();
        let mut state = self.lock();
        let (same, other) =
            if self.is_terminal { (REFRESH, Duration::ZERO) } else { (LOG_REPEAT, LOG_STAGE) };
        let patience = if state.last.1 == key { same } else { other };
        let is_news = now.duration_since(state.last.0) >= patience;
        if !is_news {
            return;
        }
        let percent = (fraction * 100.0).round();
        let mut text = if percent > 0.0 { format!("{key} {percent} %") } else { format!("{key} …") };
        let mut stderr = std::io::stderr().lock();
        let _ = if self.is_terminal {
            if let Some((cut, _)) = text.char_indices().nth(LINE_CHARS) {
                text.truncate(cut);
            }
            state.drawn = true;
            write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{text}")
        };
        state.last = (now, key);
    }

    /// Removes the progress line.
    pub fn clear(&self) {
        clear(&mut self.lock());
    }

    /// A task whose progress is shown here under the name `what`.
    pub fn task(self: &Arc<Self>, what: &str, cancel: &Cancel) -> Task {
        let (console, what) = (Arc::clone(self), what.to_owned());
        Task::new(cancel.clone(), move |stage, fraction| console.progress(&what, stage, fraction))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while printing leaves nothing worse than an odd line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clear(state: &mut State) {
    if state.drawn {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
        state.drawn = false;
    }
}
