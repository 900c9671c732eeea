//! The 3-D picture computed on the processor, beside the window: the newest request wins, first coarse while things
//! move, then in full once nothing newer came for a moment.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use formats::Cancel;
use viewer::raycast::{Pace, Quality, RayCaster};
use viewer::{Picture, Scene, VolumeView};

/// How long nothing newer must come before a picture is computed in full.
const REST: Duration = Duration::from_millis(120);

/// What is to be seen.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Counts up; answers carry it.
    pub number: u64,
    /// A snapshot.
    pub scene: Scene,
    /// From where and how.
    pub view: VolumeView,
    /// Width and height of the picture.
    pub size_px: [usize; 2],
}

/// A picture that was computed.
#[derive(Debug)]
pub(super) struct Answer {
    /// Of the request.
    pub number: u64,
    /// At the request's size, or smaller while moving.
    pub picture: Picture,
    /// Whether it is in full quality.
    pub is_full: bool,
    /// Seconds it took.
    pub seconds: f64,
}

#[derive(Default)]
struct Shared {
    /// The newest request that was not begun.
    wanted: Option<Request>,
    /// Ends the rendering under way.
    cancel: Cancel,
    /// The newest answer that was not taken.
    answer: Option<Answer>,
    is_over: bool,
}

/// The thread; it ends when this is dropped.
pub(super) struct VolumeThread {
    shared: Arc<(Mutex<Shared>, Condvar)>,
    is_running: bool,
}

impl VolumeThread {
    /// Nothing runs until the first request.
    pub fn new() -> Self {
        Self { shared: Arc::default(), is_running: false }
    }

    /// Asks for a picture; what was asked before is given up. `wake` is called when there is an answer.
    pub fn ask(&mut self, request: Request, caster: &Arc<RayCaster>, wake: impl Fn() + Send + 'static) {
        {
            let mut shared = lock(&self.shared.0);
            shared.cancel.cancel();
            shared.wanted = Some(request);
        }
        self.shared.1.notify_one();
        if !self.is_running {
            let (shared, caster) = (Arc::clone(&self.shared), Arc::clone(caster));
            let run = move || work(&shared.0, &shared.1, &caster, &wake);
            // Without a thread there is no 3-D picture; everything else works. Tried again with the next request.
            self.is_running = std::thread::Builder::new().name("3-D renderer".to_owned()).spawn(run).is_ok();
        }
    }

    /// The newest picture, once.
    pub fn take(&self) -> Option<Answer> {
        lock(&self.shared.0).answer.take()
    }
}

impl Drop for VolumeThread {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared.0);
        shared.is_over = true;
        shared.cancel.cancel();
        self.shared.1.notify_one();
    }
}

fn lock(mutex: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(mutex: &Mutex<Shared>, news: &Condvar, caster: &RayCaster, wake: &dyn Fn()) {
    let mut pace = Pace::default();
    // A request that was answered coarsely and waits to be answered in full.
    let mut coarse: Option<Request> = None;
    loop {
        let (request, is_full, cancel) = {
            let mut shared = lock(mutex);
            loop {
                if shared.is_over {
                    return;
                }
                if let Some(request) = shared.wanted.take() {
                    shared.cancel = Cancel::default();
                    break (request, false, shared.cancel.clone());
                }
                if coarse.is_none() {
                    shared = news.wait(shared).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let (next, rest) = news.wait_timeout(shared, REST).unwrap_or_else(PoisonError::into_inner);
                shared = next;
                if rest.timed_out()
                    && let Some(request) = coarse.take()
                {
                    shared.cancel = Cancel::default();
                    break (request, true, shared.cancel.clone());
                }
            }
        };
        let quality = if is_full { Quality::FULL } else { Quality::moving(&pace, request.size_px) };
        let began = std::time::Instant::now();
        let rendered = caster.render(&request.scene, &request.view, request.size_px, &quality, &cancel);
        let Some(picture) = rendered else {
            if is_full {
                coarse = Some(request); // something newer is wanted first
            }
            continue;
        };
        let seconds = began.elapsed().as_secs_f64();
        pace.report(request.size_px, &quality, seconds);
        let is_full = quality == Quality::FULL;
        lock(mutex).answer = Some(Answer { number: request.number, picture, is_full, seconds });
        coarse = (!is_full).then_some(request);
        wake();
    }
}
