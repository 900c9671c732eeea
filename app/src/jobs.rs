//! Work beside the window: each job has a thread with a name, a title, progress, a way to stop it, and one result. A
//! job may hand over something before it ends ([`Early`]): a first slice of a file that is still being read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use formats::{Cancel, Task};

use crate::failure::is_cancelled;

/// Names a job while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(u64);

/// Where a job is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What is being done.
    pub stage: String,
    /// How much of the stage is done, 0..=1.
    pub fraction: f32,
    /// When the stage began.
    pub stage_began: Instant,
}

/// What became of a job.
#[derive(Debug)]
pub enum News<T> {
    /// It goes on, and this is there already.
    Early(T),
    /// It ended with its result.
    Done(T),
    /// It ended with an error.
    Failed(anyhow::Error),
    /// It ended because it was asked to stop.
    Cancelled,
}

/// One piece of work under way.
#[derive(Debug)]
pub struct Job<T> {
    /// Its name for the program.
    pub id: JobId,
    /// Its name for people, e.g. `"Opening head.nii.gz"`.
    pub title: String,
    /// When it began.
    pub began: Instant,
    cancel: Cancel,
    progress: Arc<Mutex<Progress>>,
    news: Receiver<Message<T>>,
}

/// What a job's thread sends.
#[derive(Debug)]
enum Message<T> {
    Early(T),
    Ended(anyhow::Result<T>),
}

/// By which a job hands over what is there before it ends.
#[derive(Debug)]
pub struct Early<T> {
    sender: SyncSender<Message<T>>,
}

impl<T> Early<T> {
    /// Hands something over. Nothing happens when the window is gone, or has not taken what came before.
    pub fn give(&self, value: T) {
        let _ = self.sender.try_send(Message::Early(value));
    }
}

/// The jobs under way.
#[derive(Debug)]
pub struct Jobs<T> {
    jobs: Vec<Job<T>>,
    next: u64,
}

impl<T> Default for Jobs<T> {
    fn default() -> Self {
        Self { jobs: Vec::new(), next: 0 }
    }
}

impl<T> Job<T> {
    /// Where it is now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Progress {
    /// Time left in this stage at the speed so far; none until a twentieth of it and half a second are done.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let spent = self.stage_began.elapsed();
        if self.fraction < 0.05 || spent < Duration::from_millis(500) {
            return None;
        }
        Some(spent.mul_f32((1.0 - self.fraction).max(0.0) / self.fraction))
    }
}

/// A panic of a job, as an error to be shown.
#[derive(Debug, thiserror::Error)]
#[error("internal error: {0}. Your data is untouched; please report this with what you did")]
struct Panicked(String);

impl<T: Send + 'static> Jobs<T> {
    /// Starts `work` on a thread of its own. `wake` is called whenever there is something new to show, from that
    /// thread.
    pub fn start(
        &mut self,
        title: impl Into<String>,
        wake: impl Fn() + Send + Sync + Clone + 'static,
        work: impl FnOnce(&Task) -> anyhow::Result<T> + Send + 'static,
    ) -> JobId {
        self.start_early(title, wake, move |task, _| work(task))
    }

    /// As [`Jobs::start`], for work that has something to show before it ends.
    pub fn start_early(
        &mut self,
        title: impl Into<String>,
        wake: impl Fn() + Send + Sync + Clone + 'static,
        work: impl FnOnce(&Task, &Early<T>) -> anyhow::Result<T> + Send + 'static,
    ) -> JobId {
        let title = title.into();
        self.next += 1;
        let id = JobId(self.next);
        let cancel = Cancel::default();
        let progress = Arc::new(Mutex::new(Progress {
            stage: "starting".to_owned(),
            fraction: 0.0,
            stage_began: Instant::now(),
        }));
        // Room for one early thing and the end.
        let (sender, news) = sync_channel(2);
        let early = Early { sender: sender.clone() };
        let (shared, notify) = (Arc::clone(&progress), wake.clone());
        let task = Task::new(cancel.clone(), move |stage, fraction| {
            let mut p = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if p.stage != stage {
                *p = Progress { stage: stage.to_owned(), fraction, stage_began: Instant::now() };
            } else if (fraction - p.fraction).abs() < 0.005 {
                return; // nobody sees less than that
            } else {
                p.fraction = fraction;
            }
            drop(p);
            notify();
        });
        let name = format!("job {}", id.0);
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&task, &early))).unwrap_or_else(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_else(|| "unknown".to_owned());
                Err(Panicked(text).into())
            });
            // The window may be gone; then nobody waits for the result.
            let _ = sender.send(Message::Ended(outcome));
            wake();
        };
        if let Err(error) = std::thread::Builder::new().name(name).spawn(run) {
            // The closure was dropped, and with it the sender: the job ends with this error instead of its result.
            let (failed, news) = sync_channel(1);
            let _ =
                failed.send(Message::Ended(Err(anyhow::Error::new(error).context("cannot start a thread"))));
            self.jobs.push(Job { id, title, began: Instant::now(), cancel, progress, news });
            return id;
        }
        self.jobs.push(Job { id, title, began: Instant::now(), cancel, progress, news });
        id
    }

    /// Takes what jobs handed over since the last call, oldest job first; those that ended are forgotten.
    pub fn drain(&mut self) -> Vec<(JobId, String, News<T>)> {
        let mut all = Vec::new();
        self.jobs.retain_mut(|job| {
            loop {
                let news = match job.news.try_recv() {
                    Err(TryRecvError::Empty) => return true,
                    Ok(Message::Early(value)) => {
                        all.push((job.id, job.title.clone(), News::Early(value)));
                        continue;
                    }
                    Ok(Message::Ended(Ok(value))) => News::Done(value),
                    Ok(Message::Ended(Err(error))) if is_cancelled(&error) => News::Cancelled,
                    Ok(Message::Ended(Err(error))) => News::Failed(error),
                    Err(TryRecvError::Disconnected) => {
                        News::Failed(anyhow::anyhow!("the job ended without a word"))
                    }
                };
                all.push((job.id, std::mem::take(&mut job.title), news));
                return false;
            }
        });
        all
    }

    /// The jobs under way, oldest first.
    #[must_use]
    pub fn running(&self) -> &[Job<T>] {
        &self.jobs
    }

    /// Asks a job to stop, if it is still under way.
    pub fn cancel(&self, id: JobId) {
        if let Some(job) = self.jobs.iter().find(|j| j.id == id) {
            job.cancel();
        }
    }

    /// Asks all jobs to stop.
    pub fn cancel_all(&self) {
        for job in &self.jobs {
            job.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T: Send + 'static>(jobs: &mut Jobs<T>) -> Vec<(JobId, String, News<T>)> {
        for _ in 0..2000 {
            let ended = jobs.drain();
            if !ended.is_empty() {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the job never ended");
    }

    #[test]
    fn results_errors_panics_and_cancellation_are_told_apart() {
        let mut jobs = Jobs::default();
        jobs.start("one", || {}, |_| Ok(7));
        assert!(matches!(&wait(&mut jobs)[..], [(_, title, News::Done(7))] if title == "one"));
        jobs.start("two", || {}, |_| anyhow::bail!("no"));
        assert!(matches!(&wait(&mut jobs)[..], [(_, _, News::Failed(e))] if e.to_string() == "no"));
        jobs.start("three", || {}, |_| panic!("oh"));
        assert!(matches!(&wait(&mut jobs)[..], [(_, _, News::Failed(e))] if e.to_string().contains("oh")));
        jobs.start(
            "four",
            || {},
            |task| {
                loop {
                    task.at("turning", 0.5)?;
                }
            },
        );
        jobs.cancel_all();
        assert!(matches!(&wait(&mut jobs)[..], [(_, _, News::Cancelled)]));
        assert!(jobs.running().is_empty());
    }

    #[test]
    fn something_early_comes_before_the_end() {
        let mut jobs = Jobs::default();
        let (go, waits) = sync_channel::<()>(1);
        let id = jobs.start_early(
            "five",
            || {},
            move |_, early| {
                early.give(1);
                let _ = waits.recv();
                Ok(2)
            },
        );
        assert!(
            matches!(&wait(&mut jobs)[..], [(job, title, News::Early(1))] if *job == id && title == "five")
        );
        assert_eq!(jobs.running().len(), 1);
        go.send(()).unwrap();
        assert!(matches!(&wait(&mut jobs)[..], [(_, title, News::Done(2))] if title == "five"));
        assert!(jobs.running().is_empty());
    }
}
