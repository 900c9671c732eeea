//! Progress and cancellation as one thing, so that a long loop cannot have one without the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag that ends work early. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks all holders to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

type Sink = dyn Fn(&str, f32) + Send + Sync;

/// A piece of work under way: where to report, and whether to go on.
#[derive(Clone)]
pub struct Task {
    sink: Arc<Sink>,
    cancel: Cancel,
}

impl Task {
    /// A task that reports `(stage, fraction 0..=1)` to `sink`, which must return quickly.
    pub fn new(cancel: Cancel, sink: impl Fn(&str, f32) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink), cancel }
    }

    /// Reports to nobody and is never cancelled: for tests and small work.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Cancel::default(), |_, _| {})
    }

    /// Reports progress of a stage and is the cancellation point.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the task was cancelled.
    pub fn at(&self, stage: &str, fraction: f32) -> Result<()> {
        self.check()?;
        (self.sink)(stage, fraction.clamp(0.0, 1.0));
        Ok(())
    }

    /// The cancellation point without a report.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the task was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// A part of this task: what it reports as 0..=1 is `from..=from + length` here.
    #[must_use]
    pub fn part(&self, from: f32, length: f32) -> Self {
        let sink = Arc::clone(&self.sink);
        Self::new(self.cancel.clone(), move |stage, fraction| sink(stage, from + length * fraction))
    }

    /// The flag, to be passed to something that can cancel this task (or must watch it from a thread).
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_task_stops_at_the_next_report() {
        let task = Task::silent();
        assert!(task.at("Reading", 0.5).is_ok());
        task.cancel().cancel();
        assert!(matches!(task.at("Reading", 0.6), Err(Error::Cancelled)));
    }
}
