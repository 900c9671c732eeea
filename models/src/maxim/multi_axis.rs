//! The multi-axis gated MLP: half of the channels looks at the whole picture, the other at its blocks. It takes most of the
//! time of the network, and most of that goes by between processor and memory: so it runs in parts that fit a cache.

use super::layers::{Linear, Mix, Net, Rows, Size};
use crate::onnx::Attribute;

/// Bytes of rows that are worked on at a time.
const PART_BYTES: usize = 1 << 20;

impl Net<'_> {
    /// In how many parts rows are worked on, none of which cuts a block: so many that [`PART_BYTES`] hold one of one picture;
    /// where sizes are not known, so many as every allowed size can be cut into.
    fn parts(&self, x: &Rows) -> usize {
        let side = self.config.tile(x.level);
        let [Size::Known(h), Size::Known(w)] = self.size(x.level) else {
            return ((self.config.multiple() / self.config.unshuffle) >> x.level) / side;
        };
        let (most, bytes) = (h / side, h * w * x.channels * size_of::<f32>());
        (1..=most).find(|n| most.is_multiple_of(*n) && bytes / n <= PART_BYTES).unwrap_or(most)
    }

    /// Rows in the order of tiles, or back. Of blocks: block after block, within one pixel after pixel. Of the grid: for
    /// each row of a cell, cell after cell, within one pixel after pixel.
    pub(super) fn tiled(&mut self, x: &Rows, mix: Mix, is_back: bool) -> Rows {
        let side = self.config.tile(x.level);
        let [h, w] = self.size(x.level);
        let channels = Size::Known(x.channels);
        let side_size = Size::Known(side);
        let (rows, cells, pixels) = match mix {
            // Cells of `side` × `side` pixels.
            Mix::Block => (side_size.clone(), self.divided(&w, side), side_size),
            // `side` × `side` cells, of which those beside each other stay so.
            Mix::Grid => (side_size, self.divided(&h, side), w),
        };
        let run = self.product(&pixels, &channels);
        let middle = if is_back { [Some(cells), Some(rows)] } else { [Some(rows), Some(cells)] };
        let [a, b] = middle;
        let split = self.reshaped(&x.name, &[None, a, b, Some(run)]);
        let split = self.transposed(&split, &[0, 2, 1, 3]);
        let name = self.reshaped(&split, &[None, Some(channels)]);
        Self::with(x, name)
    }

    /// The dense layer of `path` along the mixed axis of rows in tile order, with `extra` added to its bias.
    pub(super) fn mixed(&mut self, path: &str, x: &Rows, mix: Mix, extra: f64) -> Rows {
        let side = self.config.tile(x.level);
        let area = side * side;
        let layer = self.linear(path, area, area, false);
        // From the left: row p of the product is Σ_q kernel[q, p] · row q.
        let matrix: Vec<f64> = (0..area)
            .flat_map(|p| (0..area).map(move |q| (p, q)))
            .map(|(p, q)| layer.matrix[q * area + p])
            .collect();
        let matrix = self.kernel(path, &[area, area], &matrix);
        let bias: Vec<f64> = layer.bias.iter().map(|b| b + extra).collect();
        let bias = self.exact(&format!("{path}/bias"), &[area, 1], &bias);
        let run = match mix {
            Mix::Block => Size::Known(x.channels),
            Mix::Grid => {
                let [_, w] = self.size(x.level);
                let w = self.divided(&w, side);
                self.product(&w, &Size::Known(x.channels))
            }
        };
        let cube = self.reshaped(&x.name, &[None, Some(Size::Known(area)), Some(run)]);
        let product = self.b.node("MatMul", &[&matrix, &cube], &[]);
        let sum = self.b.node("Add", &[&product, &bias], &[]);
        let name = self.reshaped(&sum, &[None, Some(Size::Known(x.channels))]);
        Self::with(x, name)
    }

    /// A gated MLP that mixes along one axis of the tiles, of rows in their order; without the bias of its last layer.
    fn gmlp(&mut self, path: &str, x: &Rows, mix: Mix) -> Rows {
        let unit = match mix {
            Mix::Grid => format!("{path}/GridGatingUnit"),
            Mix::Block => format!("{path}/BlockGatingUnit"),
        };
        let y = self.norm(&format!("{path}/LayerNorm"), x);
        let [u, v] = self.halves(&format!("{path}/in_project"), &y);
        let v = self.norm(&format!("{unit}/intermediate_layernorm"), &v);
        // u · (v + 1): the one is part of the bias.
        let v = self.mixed(&format!("{unit}/Dense_0"), &v, mix, 1.0);
        let y = self.times(&u, &v);
        let path = format!("{path}/out_project");
        let last = self.linear(&path, x.channels, x.channels, false);
        self.apply(&path, &y, &last, Some(&x.name))
    }

    /// The multi-axis gated MLP block: one half of the channels looks at the whole picture, the other at its blocks.
    ///
    /// Blocks run in bands, then the grid in rows of its cells. The biases of both branches' last layers become part of
    /// that of the layer that joins them.
    pub fn multi_axis(&mut self, path: &str, x: &Rows) -> Rows {
        let (c, parts, out) = (x.channels, self.parts(x), format!("{path}/out_project"));
        let [grid_path, block_path] = ["Grid", "Block"].map(|mix| format!("{path}/{mix}GmlpLayer"));
        let both = self.linear(&out, 2 * c, c, false);
        let [grid, block] = [both.rows(0, c), both.rows(c, c)];
        let mut bias = both.bias;
        for (before, layer) in [(&grid_path, &grid), (&block_path, &block)] {
            let before = self.linear(&format!("{before}/out_project"), c, c, false).bias;
            for (row, b) in layer.matrix.chunks_exact(c).zip(before) {
                bias.iter_mut().zip(row).for_each(|(to, m)| *to += b * m);
            }
        }
        let block = Linear { bias, ..block };
        let (mut us, mut sums) = (Vec::new(), Vec::new());
        for part in self.split(x, parts) {
            let y = self.norm(&format!("{path}/LayerNorm_in"), &part);
            let [u, v] = self.halves(&format!("{path}/in_project"), &y);
            let v = self.tiled(&v, Mix::Block, false);
            let v = self.gmlp(&block_path, &v, Mix::Block);
            let v = self.tiled(&v, Mix::Block, true);
            let v = self.apply(&format!("{out}.v"), &v, &block, None);
            sums.push(self.plus(&v, &part));
            us.push(u);
        }
        let u = self.joined_parts(us);
        let mut answers = Vec::new();
        for part in self.grid_parts(&u, parts) {
            let y = self.gmlp(&grid_path, &part, Mix::Grid);
            answers.push(self.times_kernel(&format!("{out}.u"), &y, &grid));
        }
        let (u, sum) = (self.joined_grid_parts(&answers), self.joined_parts(sums));
        self.plus(&u, &sum)
    }

    /// Rows in so many parts.
    fn split(&mut self, x: &Rows, parts: usize) -> Vec<Rows> {
        if parts == 1 {
            return vec![x.clone()];
        }
        self.b.split(&x.name, parts, 0).into_iter().map(|name| Self::with(x, name)).collect()
    }

    /// Parts as one.
    fn joined_parts(&mut self, mut parts: Vec<Rows>) -> Rows {
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let name = match names[..] {
            [only] => only.to_owned(),
            _ => self.b.node("Concat", &names, &[("axis", Attribute::Int(0))]),
        };
        Rows { name, ..parts.swap_remove(0) }
    }

    /// Rows of a picture as parts in the order of the grid, each some rows of all cells.
    fn grid_parts(&mut self, x: &Rows, parts: usize) -> Vec<Rows> {
        if parts == 1 {
            return vec![self.tiled(x, Mix::Grid, false)];
        }
        let dims = self.grid_dims(x, 1, false);
        let cells = self.reshaped(&x.name, &dims);
        let cut = self.b.split(&cells, parts, 2);
        let rows = |part: String| {
            let turned = self.transposed(&part, &[0, 2, 1, 3]);
            Self::with(x, self.reshaped(&turned, &[None, Some(Size::Known(x.channels))]))
        };
        cut.into_iter().map(rows).collect()
    }

    /// Such parts as rows of a picture.
    fn joined_grid_parts(&mut self, parts: &[Rows]) -> Rows {
        let first = &parts[0];
        if parts.len() == 1 {
            return self.tiled(first, Mix::Grid, true);
        }
        let dims = self.grid_dims(first, parts.len(), true);
        let turn = |part: &Rows| {
            let cells = self.reshaped(&part.name, &dims);
            self.transposed(&cells, &[0, 2, 1, 3])
        };
        let turned: Vec<String> = parts.iter().map(turn).collect();
        let turned: Vec<&str> = turned.iter().map(String::as_str).collect();
        let whole = self.b.node("Concat", &turned, &[("axis", Attribute::Int(2))]);
        let name = self.reshaped(&whole, &[None, Some(Size::Known(first.channels))]);
        Self::with(first, name)
    }

    /// Of one of `parts` parts of the grid's rows: pictures, cells down, rows of a cell, run of a row; or, `is_tiled`, the two
    /// in the middle the other way round.
    fn grid_dims(&mut self, x: &Rows, parts: usize, is_tiled: bool) -> [Option<Size>; 4] {
        let side = self.config.tile(x.level);
        let [h, w] = self.size(x.level);
        let (rows, run) = (self.divided(&h, side * parts), self.product(&w, &Size::Known(x.channels)));
        let (cells, rows) = (Some(Size::Known(side)), Some(rows));
        let [a, b] = if is_tiled { [rows, cells] } else { [cells, rows] };
        [None, a, b, Some(run)]
    }

    /// A product with a kernel alone.
    fn times_kernel(&mut self, name: &str, x: &Rows, layer: &Linear) -> Rows {
        let kernel = self.kernel(name, &[x.channels, layer.bias.len()], &layer.matrix);
        let name = self.b.node("MatMul", &[&x.name, &kernel], &[]);
        Rows { name, channels: layer.bias.len(), level: x.level }
    }
}
