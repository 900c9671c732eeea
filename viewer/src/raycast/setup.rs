//! What one picture needs in numbers: both ray-casters, here and on the graphics card, start from this.

use formats::affine::norm;
use formats::{Affine, Grid};

use super::Quality;
use crate::camera::{Ray, Rays, dot};
use crate::scene::Scene;
use crate::view::Plane;
use crate::volume_view::{MAX_CLIP_PLANES, VolumeView, cast_label_layer, cast_layer};

/// A grid as rays meet it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    pub voxel_from_world: Affine,
    pub size: [usize; 3],
}

impl Placed {
    fn of(grid: &Grid) -> Option<Self> {
        Some(Self { voxel_from_world: grid.voxel_from_world()?, size: grid.size_ijk })
    }

    /// A direction in voxels.
    pub fn direction(&self, d: [f64; 3]) -> [f64; 3] {
        let m = &self.voxel_from_world.0;
        [0, 1, 2].map(|r| m[r][0] * d[0] + m[r][1] * d[1] + m[r][2] * d[2])
    }

    /// A gradient per millimetre of the world from one per voxel, row by row.
    pub fn gradient_matrix(&self) -> [[f32; 3]; 3] {
        let m = &self.voxel_from_world.0;
        [0, 1, 2].map(|a| [0, 1, 2].map(|r| m[r][a] as f32))
    }
}

/// A half-space: `normal · p >= offset` is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Half {
    pub normal: [f64; 3],
    pub offset: f64,
}

/// Numbers of one picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setup {
    /// Lines of sight by coordinates of the whole picture.
    pub rays: Rays,
    /// The picture asked for.
    pub full_px: [f64; 2],
    /// The picture drawn (smaller while moving).
    pub size_px: [usize; 2],
    /// Between samples, millimetres.
    pub step_mm: f64,
    pub jitter: bool,
    pub image: Option<Placed>,
    pub labels: Option<Placed>,
    /// Cuts and the crop box.
    pub halves: Vec<Half>,
    /// World axis and position of the slices shown.
    pub slices: Vec<(usize, f64)>,
    /// Unit vector towards the lamp.
    pub lamp: [f64; 3],
}

/// Part of a ray, in millimetres from its start, and the world normal (towards the viewer) of what it enters by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub from: f64,
    pub to: f64,
    pub entry: [f64; 3],
}

impl Span {
    /// Cuts the span to one side of a plane, given the distance to it at the start and its change per millimetre.
    fn cut(&mut self, distance: f64, slope: f64, normal: [f64; 3]) {
        if slope.abs() < 1e-12 {
            if distance < 0.0 {
                self.to = f64::NEG_INFINITY;
            }
        } else {
            let t = -distance / slope;
            if slope > 0.0 {
                if t > self.from {
                    (self.from, self.entry) = (t, normal);
                }
            } else {
                self.to = self.to.min(t);
            }
        }
    }
}

impl Setup {
    pub fn new(scene: &Scene, view: &VolumeView, size_px: [usize; 2], quality: &Quality) -> Self {
        let full_px = size_px.map(|n| n.max(1) as f64);
        let scale = f64::from(quality.scale).clamp(0.05, 1.0);
        let image_layer = cast_layer(scene);
        let label_layer =
            cast_label_layer(scene).filter(|_| view.labels.visible && view.labels.opacity > 0.0);
        let mut spacing = f64::INFINITY;
        for layer in [image_layer, label_layer].into_iter().flatten() {
            let grid = layer.grid();
            // An axis of one slice says nothing about detail along it.
            for (mm, n) in grid.spacing_mm().into_iter().zip(grid.size_ijk) {
                if n > 1 && mm > 0.0 {
                    spacing = spacing.min(mm);
                }
            }
        }
        if !spacing.is_finite() {
            spacing = 1.0;
        }
        let mut halves: Vec<Half> = Vec::new();
        for plane in view.clip_planes.iter().take(MAX_CLIP_PLANES) {
            let length = norm(plane.normal_ras);
            if length.is_finite() && length > 0.0 {
                let normal = plane.normal_ras.map(|v| v / length);
                halves.push(Half { normal, offset: dot(normal, plane.point_ras) });
            }
        }
        if let Some((low, high)) = view.crop_ras {
            for a in 0..3 {
                let mut normal = [0.0; 3];
                normal[a] = 1.0;
                halves.push(Half { normal, offset: low[a] });
                normal[a] = -1.0;
                halves.push(Half { normal, offset: -high[a] });
            }
        }
        let slices = if image_layer.is_some() {
            let through = |p: &Plane| (p.axes()[2], scene.cursor_ras[p.axes()[2]]);
            Plane::ALL.iter().filter(|p| view.shows_slice(**p)).map(through).collect()
        } else {
            Vec::new()
        };
        let [right, up, towards] = view.camera.axes();
        let lamp = [0, 1, 2].map(|a| towards[a] + 0.45 * up[a] - 0.30 * right[a]);
        let length = norm(lamp);
        Self {
            rays: view.camera.rays(full_px),
            full_px,
            size_px: full_px.map(|n| ((n * scale).round() as usize).max(1)),
            step_mm: spacing * f64::from(quality.step_vox).clamp(0.05, 64.0),
            jitter: quality.jitter,
            image: image_layer.and_then(|l| Placed::of(l.grid())),
            labels: label_layer.and_then(|l| Placed::of(l.grid())),
            halves,
            slices,
            lamp: lamp.map(|v| v / length),
        }
    }

    /// The line of sight through the centre of a pixel of the picture drawn.
    pub fn ray(&self, x: usize, y: usize) -> Ray {
        self.rays.at(
            (x as f64 + 0.5) * self.full_px[0] / self.size_px[0] as f64,
            (y as f64 + 0.5) * self.full_px[1] / self.size_px[1] as f64,
        )
    }

    /// The part of a ray in front of the viewer that the cuts leave.
    pub fn open_span(&self, ray: &Ray) -> Span {
        let mut span = Span { from: 0.0, to: f64::INFINITY, entry: ray.direction_ras.map(|v| -v) };
        for half in &self.halves {
            let distance = dot(half.normal, ray.origin_ras) - half.offset;
            // The kept side's outside faces the viewer where the ray enters.
            span.cut(distance, dot(half.normal, ray.direction_ras), half.normal.map(|v| -v));
        }
        span
    }
}

/// The part of a span inside a grid (to the outer faces of its voxels), or `None`.
pub(crate) fn inside(placed: &Placed, origin: [f64; 3], direction: [f64; 3], mut span: Span) -> Option<Span> {
    let m = &placed.voxel_from_world.0;
    for a in 0..3 {
        let row = [m[a][0], m[a][1], m[a][2]];
        let low = origin[a] + 0.5;
        let high = placed.size[a] as f64 - 0.5 - origin[a];
        span.cut(low, direction[a], row.map(|v| -v));
        span.cut(high, -direction[a], row);
    }
    (span.from < span.to).then_some(span)
}

/// A fixed fraction of a step for each pixel, 0..1: a low-discrepancy sequence over the plane in whole numbers, so that
/// every machine finds the same.
pub(crate) fn jitter(x: usize, y: usize) -> f64 {
    let h = (x as u32).wrapping_mul(3_242_174_889).wrapping_add((y as u32).wrapping_mul(2_447_445_414));
    f64::from(h >> 8) / f64::from(1u32 << 24)
}
