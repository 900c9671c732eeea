//! Slices through the network: mirrored out where they are small, in tiles where they are large.

use formats::{Grid, Notice, Task, Volume};
use inference::net::Net;
use inference::pad::{self, Padding};
use inference::tiles::{Plan, run_tiles};
use ndarray::{Array3, Array4, ArrayView4, Axis};

use super::values::{self, Scale};
use crate::error::Result;
use crate::family::Slices;
use crate::manifest::{Manifest, Tiles};
use crate::pack::ModelPack;

/// How pictures of one size are brought to what the network takes.
#[derive(Clone, Debug)]
pub struct Tiling {
    /// Of height and width.
    pub padding: [Padding; 2],
    /// Over the padded picture.
    pub plan: Plan,
}

impl Tiling {
    /// For pictures of `[height, width]`.
    ///
    /// # Errors
    /// More tiles than a plan may have.
    pub fn new(tiles: &Tiles, size: [usize; 2]) -> Result<Self> {
        let [_, h, w] = tiles.patch;
        let padding = [(size[0], h), (size[1], w)].map(|(n, side)| match tiles.multiple {
            Some(multiple) if n <= side => Padding::to_multiple(n, multiple),
            _ => Padding::to_at_least(n, side),
        });
        let shape = [1, padding[0].padded, padding[1].padded];
        let patch = [1, h.min(shape[1]), w.min(shape[2])];
        let plan = Plan::new(shape, patch, tiles.overlap, tiles.plan, tiles.blend)?;
        Ok(Self { padding, plan })
    }

    /// A picture `[C, 1, H, W]` of the size this was made for through the network.
    ///
    /// # Errors
    /// Those of [`run_tiles`].
    pub fn run(
        &self,
        net: &mut dyn Net,
        picture: &ArrayView4<'_, f32>,
        batch: usize,
        task: &Task,
    ) -> Result<Array4<f32>> {
        let padded = pad::reflected(*picture, self.padding);
        let answer = run_tiles(net, padded.view(), &self.plan.with_batch(batch), task)?;
        Ok(pad::cropped(answer.view(), self.padding).to_owned())
    }
}

/// The axes (0 = i) that slices are taken across. Of an image that is one voxel thick, that one.
pub(super) fn axes(grid: &Grid, slices: Slices) -> Vec<usize> {
    let size = grid.size_ijk;
    if let Some(thin) = [2, 1, 0].into_iter().find(|&a| size[a] == 1) {
        return vec![thin];
    }
    match slices {
        Slices::I => vec![0],
        Slices::J => vec![1],
        Slices::K => vec![2],
        Slices::All => vec![2, 1, 0],
        Slices::Auto => {
            let mm = grid.spacing_mm();
            // Headers round spacings: a thousandth of a difference is none.
            let thick = [1, 0].into_iter().fold(2, |best, a| if mm[a] > mm[best] * 1.001 { a } else { best });
            vec![thick]
        }
    }
}

/// What to know about the choice of slices.
pub(super) fn remark(volume: &Volume, axes: &[usize], slices: Slices) -> Option<Notice> {
    let is_flat = volume.grid.size_ijk.contains(&1);
    let name = |a: &usize| ["i", "j", "k"][*a];
    match (is_flat, slices) {
        (true, _) => None,
        (false, Slices::Auto) => Some(Notice::info(
            "slices-chosen",
            format!("Restored slice by slice across {}, the axis with the largest spacing.", name(&axes[0])),
        )),
        (false, Slices::All) => Some(Notice::info(
            "slices-averaged",
            "Restored slice by slice across each of the three axes, and averaged.",
        )),
        (false, _) => None,
    }
}

/// How many slices of which size `[height, width]` there are across an axis (0 = i).
pub(super) fn slices(grid: &Grid, axis: usize) -> (usize, [usize; 2]) {
    let mut shape = grid.shape_kji().to_vec();
    let count = shape.remove(2 - axis);
    (count, [shape[0], shape[1]])
}

/// The network's colours, and for each run of it the image's colours it sees.
pub(super) fn passes(m: &Manifest, volume: &Volume) -> Vec<Vec<usize>> {
    match (m.output.channel_count(), values::colours(&volume.voxels)) {
        (3, 3) => vec![vec![0, 1, 2]],
        (3, _) => vec![vec![0; 3]],
        (_, n) => (0..n).map(|c| vec![c]).collect(),
    }
}

/// Restoration under way.
pub(super) struct Work<'a> {
    pack: &'a ModelPack,
    volume: &'a Volume,
    scale: Scale,
    batch: usize,
    /// What the network made of each colour, `[k, j, i]`, summed over the axes.
    pub(super) restored: Vec<Array3<f32>>,
    /// Tiles so far.
    pub(super) tiles: usize,
    /// Slices of one value so far.
    pub(super) unchanged: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(pack: &'a ModelPack, volume: &'a Volume, scale: Scale, batch: usize) -> Self {
        let zeros = || Array3::zeros(volume.grid.shape_kji());
        let restored = (0..values::colours(&volume.voxels)).map(|_| zeros()).collect();
        Self { pack, volume, scale, batch, restored, tiles: 0, unchanged: 0 }
    }

    /// Runs all slices across an axis, `number` of so many axes, of which each counts alike.
    pub(super) fn restore(
        &mut self,
        net: &mut dyn Net,
        axis: usize,
        [number, of]: [usize; 2],
        task: &Task,
    ) -> Result<()> {
        let m = &self.pack.manifest;
        let (count, size) = slices(&self.volume.grid, axis);
        let tiling = Tiling::new(&m.tiles, size)?;
        let passes = passes(m, self.volume);
        let part = 1.0 / of as f32;
        let whole = (count * passes.len() * of) as f32;
        for n in 0..count {
            let colours: Vec<_> = (0..self.restored.len())
                .map(|c| values::plane(self.volume, axis, n, c, self.scale))
                .collect();
            if colours.iter().all(values::is_constant) {
                self.unchanged += 1;
                for (to, plane) in self.restored.iter_mut().zip(&colours) {
                    super::add(to.index_axis_mut(Axis(2 - axis), n), &plane.view(), part);
                }
                continue;
            }
            for (p, pass) in passes.iter().enumerate() {
                let mut picture = Array4::<f32>::zeros((pass.len(), 1, size[0], size[1]));
                for (mut to, &colour) in picture.outer_iter_mut().zip(pass) {
                    to.index_axis_mut(Axis(0), 0).assign(&colours[colour]);
                }
                // Progress of the tiles of one slice, within that of all.
                let done = (number * count * passes.len() + n * passes.len() + p) as f32 / whole;
                let inner = task.part(done, 1.0 / whole);
                let answer = tiling.run(net, &picture.view(), self.batch, &inner)?;
                self.tiles += tiling.plan.count();
                // A grey image that went in three times comes back as the mean of three answers.
                let copies = if self.restored.len() < pass.len() { pass.len() } else { 1 };
                let share = part / copies as f32;
                for (answer, &colour) in answer.outer_iter().zip(pass) {
                    let to = self.restored[colour].index_axis_mut(Axis(2 - axis), n);
                    super::add(to, &answer.index_axis(Axis(0), 0), share);
                }
            }
        }
        Ok(())
    }
}
