//! Ctrl-C and termination: the first asks the work to stop cleanly, the second ends the process at once
//! (which is safe: outputs appear by rename).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use formats::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Signals asked for, and the flag they raise.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    cancel: Cancel,
    /// 0, or the number of the signal that came first.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the system refuses a signal handler or a thread.
    pub fn listen() -> std::io::Result<Self> {
        let this = Self::default();
        let second = Arc::new(AtomicBool::new(false));
        for (signal, exit) in [(SIGINT, 130), (SIGTERM, 143)] {
            // Order matters: the shutdown is armed by the first signal and fires on the next.
            signal_hook::flag::register_conditional_shutdown(signal, exit, Arc::clone(&second))?;
            signal_hook::flag::register(signal, Arc::clone(&second))?;
            signal_hook::flag::register_usize(
                signal,
                Arc::clone(&this.signal),
                signal.unsigned_abs() as usize,
            )?;
        }
        let watched = this.clone();
        // A signal handler may only set a number; this thread passes it on. 20 ms are not felt.
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while watched.signal.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            watched.cancel.cancel();
        })?;
        Ok(this)
    }

    /// The flag that a signal raises.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The exit code that tells how the program was stopped: 130 for Ctrl-C, 143 for termination.
    pub fn exit_code(&self) -> u8 {
        if self.signal.load(Ordering::SeqCst) == SIGTERM.unsigned_abs() as usize { 143 } else { 130 }
    }
}
