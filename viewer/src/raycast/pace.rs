//! As sharp as the frame rate allows.

use super::Quality;

/// Watches how long pictures take and chooses the quality of the next ones while the view moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Wished-for time per frame in seconds.
    pub target_secs: f64,
    /// Seconds per pixel drawn at a step of one voxel; `None` before the first report.
    secs_per_px: Option<f64>,
}

impl Default for Pace {
    /// 22 frames per second, which leaves room for the rest of the frame above 15.
    fn default() -> Self {
        Self { target_secs: 0.045, secs_per_px: None }
    }
}

/// Samples are this far apart while moving: half the work, hardly visible in motion thanks to the integrated transfer
/// function.
const MOVING_STEP: f32 = 2.0;

/// Part of a ray's time that does not shrink with the number of samples, as a share of the time at one voxel.
const FIXED: f64 = 0.35;

fn work(step_vox: f32) -> f64 {
    FIXED + (1.0 - FIXED) / f64::from(step_vox.max(0.05))
}

impl Pace {
    /// Tells how long a picture of `size_px` at `quality` took.
    pub fn report(&mut self, size_px: [usize; 2], quality: &Quality, secs: f64) {
        if !(secs.is_finite() && secs > 0.0) {
            return;
        }
        let scale = f64::from(quality.scale);
        let pixels = (size_px[0].max(1) * size_px[1].max(1)) as f64 * scale * scale;
        let now = secs / pixels / work(quality.step_vox);
        // A late frame counts at once, an early one slowly: better a little coarse than jerky.
        self.secs_per_px = Some(match self.secs_per_px {
            Some(old) if now < old => old + 0.35 * (now - old),
            _ => now,
        });
    }

    /// The quality for the next moving picture of `size_px`.
    #[must_use]
    pub fn quality(&self, size_px: [usize; 2]) -> Quality {
        let pixels = (size_px[0].max(1) * size_px[1].max(1)) as f64;
        let scale = match self.secs_per_px {
            // A cautious start: a quarter of the pixels.
            None => 0.5,
            Some(cost) => (self.target_secs / (cost * work(MOVING_STEP) * pixels)).sqrt().clamp(0.125, 1.0),
        };
        // Steps of 1/16 keep the size, and so the textures that show it, from changing with every frame.
        let scale = ((scale * 16.0).floor() / 16.0).max(0.125) as f32;
        let step_vox = if scale >= 1.0 { 1.0 } else { MOVING_STEP };
        Quality { step_vox, scale, ..Quality::FULL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_machines_get_coarser_pictures_that_fit_the_time() {
        let size = [1024, 768];
        for secs in [0.01, 0.1, 0.3, 1.0] {
            let mut pace = Pace::default();
            pace.report(size, &Quality::FULL, secs);
            let quality = pace.quality(size);
            let pixels = f64::from(quality.scale * quality.scale);
            let expected = secs * pixels * work(quality.step_vox);
            assert!(expected <= pace.target_secs * 1.05, "{secs}: {quality:?} {expected}");
        }
        let mut fast = Pace::default();
        fast.report(size, &Quality::FULL, 0.004);
        assert_eq!(fast.quality(size), Quality::FULL);
    }
}
