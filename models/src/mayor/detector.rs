//! From a picture to its lines: three graphs with the glue between them.

use formats::Task;
use inference::net::Nets;
use ndarray::{Array2, Array4, ArrayD, ArrayView3, Axis, s};

use super::boxes::{self, Box4};
use super::config::{Config, SIZE_MULTIPLE};
use super::glue::{self, Found, Settings};
use crate::error::Result;

const MAPS: [&str; 4] = ["p2", "p3", "p4", "p5"];
const REGIONS: [&str; 4] = ["rois_p2", "rois_p3", "rois_p4", "rois_p5"];

/// A loaded model.
pub struct Detector<'a> {
    nets: &'a mut Nets,
    config: &'a Config,
}

/// Every array on the way, for comparison with other implementations.
#[derive(Debug)]
pub struct Answers {
    /// Logits of P2..P6.
    pub objectness: Vec<ArrayD<f32>>,
    /// Box code of P2..P6.
    pub deltas: Vec<ArrayD<f32>>,
    /// Regions worth a look.
    pub proposals: Vec<Box4>,
    /// Their probabilities of text.
    pub roi_scores: ArrayD<f32>,
    /// Boxes of text.
    pub boxes: Vec<Box4>,
    /// Masks of the grown boxes.
    pub masks: ArrayD<f32>,
    /// Lines, best first.
    pub found: Vec<Found>,
}

impl<'a> Detector<'a> {
    /// The graphs of a pack and its configuration.
    pub fn new(nets: &'a mut Nets, config: &'a Config) -> Self {
        Self { nets, config }
    }

    /// Lines of text of an RGB picture `[H, W, 3]`, at its own size, best first.
    ///
    /// # Errors
    /// Those of the networks; [`crate::Error::Cancelled`].
    pub fn detect(&mut self, picture: ArrayView3<'_, u8>, s: &Settings, task: &Task) -> Result<Vec<Found>> {
        Ok(self.answers(picture, s, task)?.found)
    }

    /// As [`Detector::detect`], with everything on the way.
    ///
    /// # Errors
    /// As there.
    pub fn answers(&mut self, picture: ArrayView3<'_, u8>, s: &Settings, task: &Task) -> Result<Answers> {
        let size = [picture.shape()[0], picture.shape()[1]];
        let image = padded(picture).into_dyn();
        let mut maps = self.nets.part_mut("backbone")?.run(&[("image", image.view())], task)?;
        drop(image);
        let mut heads = maps.split_off(4);
        let deltas = heads.split_off(5);
        let objectness = heads;
        let (proposals, _) = glue::proposals(self.config, &objectness, &deltas, size, s);
        let [roi_scores, roi_deltas] = self.heads("boxes", &maps, &proposals, [&[], &[4]], task)?;
        let (found, scores) = glue::detections(&proposals, &roi_scores, &roi_deltas, size, s);
        let grown: Vec<Box4> = found.iter().map(|&b| glue::expanded(b, size, s)).collect();
        let side = self.config.mask_side();
        let [masks] = self.heads("masks", &maps, &grown, [&[side, side]], task)?;
        let lines = glue::found(&found, &scores, &grown, &masks, size, s);
        Ok(Answers { objectness, deltas, proposals, roi_scores, boxes: found, masks, found: lines })
    }

    /// Answers of a head for regions, in their order. They go in by level and come out so: put back here. `shapes` are those of an
    /// answer for one region. Nothing is asked for no regions.
    fn heads<const N: usize>(
        &mut self,
        part: &str,
        maps: &[ArrayD<f32>],
        regions: &[Box4],
        shapes: [&[usize]; N],
        task: &Task,
    ) -> Result<[ArrayD<f32>; N]> {
        let empty = |count: usize| {
            shapes.map(|shape| {
                let dims: Vec<usize> = std::iter::once(count).chain(shape.iter().copied()).collect();
                ArrayD::<f32>::zeros(dims)
            })
        };
        let mut out = empty(regions.len());
        if regions.is_empty() {
            return Ok(out);
        }
        let levels: Vec<usize> = regions.iter().map(|&b| boxes::level(b)).collect();
        let mut rank: Vec<usize> = (0..regions.len()).collect();
        rank.sort_by_key(|&i| levels[i]);
        let lists: Vec<ArrayD<f32>> = (0..4)
            .map(|level| {
                let mine: Vec<f32> =
                    rank.iter().filter(|&&i| levels[i] == level).flat_map(|&i| regions[i]).collect();
                let count = mine.len() / 4;
                Array2::from_shape_vec((count, 4), mine).unwrap_or_else(|_| Array2::zeros((0, 4))).into_dyn()
            })
            .collect();
        let mut inputs: Vec<(&str, ndarray::ArrayViewD<'_, f32>)> =
            MAPS.into_iter().zip(maps).map(|(name, map)| (name, map.view())).collect();
        inputs.extend(REGIONS.into_iter().zip(&lists).map(|(name, list)| (name, list.view())));
        let answers = self.nets.part_mut(part)?.run(&inputs, task)?;
        for (whole, answer) in out.iter_mut().zip(answers) {
            for (row, &i) in answer.axis_iter(Axis(0)).zip(&rank) {
                whole.index_axis_mut(Axis(0), i).assign(&row);
            }
        }
        Ok(out)
    }
}

/// A picture as the first graph wants it: `[1, 3, H', W']`, 0..=255, black to the right and below up to multiples of 32.
fn padded(picture: ArrayView3<'_, u8>) -> Array4<f32> {
    let (h, w, _) = picture.dim();
    let up = |n: usize| n.next_multiple_of(SIZE_MULTIPLE);
    let mut out = Array4::zeros((1, 3, up(h), up(w)));
    for channel in 0..3 {
        let source = picture.slice(s![.., .., channel]);
        out.slice_mut(s![0, channel, ..h, ..w]).zip_mut_with(&source, |o, &v| *o = f32::from(v));
    }
    out
}
