//! What is in each block of 8³ cells: computed once per volume, it lets rays jump over what cannot be seen.

use rayon::prelude::*;

use super::texel::Texel;

/// Cells (spaces between neighbouring voxels) along the edge of a block, as a power of two.
pub(crate) const SHIFT: usize = 3;
const EDGE: usize = 1 << SHIFT;

/// Blocks along each axis for a volume of `size` voxels.
pub(crate) fn block_counts(size: [usize; 3]) -> [usize; 3] {
    size.map(|n| n.saturating_sub(1).div_ceil(EDGE).max(1))
}

/// Something kept for every block, `i` fastest.
#[derive(Debug)]
pub(crate) struct Blocks<T> {
    pub counts: [usize; 3],
    pub data: Vec<T>,
}

impl<T: Send + Copy> Blocks<T> {
    /// Folds the voxels of each block, both borders included (neighbours share them), so that the result holds for
    /// everything interpolated inside.
    fn fold<V: Copy + Sync>(
        voxels: &[V],
        size: [usize; 3],
        start: T,
        row: impl Fn(T, &[V]) -> T + Sync,
    ) -> Self
    where
        T: Sync,
    {
        let counts = block_counts(size);
        let last = |b: usize, a: usize| (b * EDGE + EDGE).min(size[a] - 1);
        let mut data = vec![start; counts.iter().product()];
        data.par_chunks_mut(counts[0]).enumerate().for_each(|(n, blocks)| {
            let (bj, bk) = (n % counts[1], n / counts[1]);
            for k in bk * EDGE..=last(bk, 2) {
                for j in bj * EDGE..=last(bj, 1) {
                    let base = (k * size[1] + j) * size[0];
                    for (bi, block) in blocks.iter_mut().enumerate() {
                        if let Some(run) = voxels.get(base + bi * EDGE..=base + last(bi, 0)) {
                            *block = row(*block, run);
                        }
                    }
                }
            }
        });
        Self { counts, data }
    }
}

/// Least and greatest stored value of each block; NaN counts as −∞ (rays take it for the lowest value).
pub(crate) fn value_ranges<T: Texel>(voxels: &[T], size: [usize; 3]) -> Blocks<[f32; 2]> {
    Blocks::fold(voxels, size, [f32::INFINITY, f32::NEG_INFINITY], |[mut low, mut high], run| {
        for v in run {
            let v = v.value();
            low = if v < low { v } else { low };
            high = if v > high { v } else { high };
            if v.is_nan() {
                low = f32::NEG_INFINITY;
                high = high.max(f32::NEG_INFINITY);
            }
        }
        [low, high]
    })
}

/// Which labels a block holds: a bit per label number, numbers folded into 128 bits, and the largest number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelSet {
    pub bits: u128,
    pub largest: u16,
}

/// The bit of a label number.
pub(crate) fn label_bit(id: u16) -> u128 {
    1 << (id & 127)
}

/// The labels of each block.
pub(crate) fn label_sets(voxels: &[u16], size: [usize; 3]) -> Blocks<LabelSet> {
    Blocks::fold(voxels, size, LabelSet { bits: 0, largest: 0 }, |mut set, run| {
        let mut previous = None;
        for &id in run {
            // Neighbours are mostly equal: one comparison instead of a wide shift.
            if previous != Some(id) {
                set.bits |= label_bit(id);
                set.largest = set.largest.max(id);
                previous = Some(id);
            }
        }
        set
    })
}

/// How far each block is from the nearest one worth visiting, in blocks along the longest axis (0 for itself, at most
/// 255): all blocks nearer than that are empty.
pub(crate) fn distances<T: Sync>(blocks: &Blocks<T>, is_occupied: impl Fn(&T) -> bool + Sync) -> Blocks<u8> {
    let counts = blocks.counts;
    let mut data: Vec<u8> =
        blocks.data.par_iter().with_min_len(4096).map(|b| if is_occupied(b) { 0 } else { 255 }).collect();
    // The largest distance over each axis in turn: min over d of max(|d|, what the other axes gave) needs the full
    // neighbourhood; two sweeps over it, forwards and backwards, are exact for this metric.
    let [nx, ny, nz] = counts.map(|n| n as isize);
    let mut sweep = |forwards: bool| {
        let order = |n: isize| (0..n).map(move |v| if forwards { v } else { n - 1 - v });
        for z in order(nz) {
            for y in order(ny) {
                for x in order(nx) {
                    let at = ((z * ny + y) * nx + x) as usize;
                    let mut best = data[at];
                    if best == 0 {
                        continue;
                    }
                    for (dx, dy, dz) in BEFORE {
                        let (px, py, pz) =
                            if forwards { (x + dx, y + dy, z + dz) } else { (x - dx, y - dy, z - dz) };
                        if (0..nx).contains(&px) && (0..ny).contains(&py) && (0..nz).contains(&pz) {
                            best = best.min(data[((pz * ny + py) * nx + px) as usize].saturating_add(1));
                        }
                    }
                    data[at] = best;
                }
            }
        }
    };
    sweep(true);
    sweep(false);
    Blocks { counts, data }
}

/// The 13 neighbours that come before a block in memory.
const BEFORE: [(isize, isize, isize); 13] = [
    (-1, 0, 0),
    (-1, -1, 0),
    (0, -1, 0),
    (1, -1, 0),
    (-1, -1, -1),
    (0, -1, -1),
    (1, -1, -1),
    (-1, 0, -1),
    (0, 0, -1),
    (1, 0, -1),
    (-1, 1, -1),
    (0, 1, -1),
    (1, 1, -1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_the_shared_border() {
        let size = [20, 9, 1];
        let mut voxels = vec![1u8; 20 * 9];
        voxels[8] = 7; // on the border between the first two blocks
        let blocks = value_ranges(&voxels, size);
        assert_eq!(blocks.counts, [3, 1, 1]);
        assert_eq!(blocks.data, [[1.0, 7.0], [1.0, 7.0], [1.0, 1.0]]);
    }

    #[test]
    fn not_a_number_counts_as_the_lowest_value() {
        let blocks = value_ranges(&[3.0f32, f32::NAN], [2, 1, 1]);
        assert_eq!(blocks.data, [[f32::NEG_INFINITY, 3.0]]);
    }

    #[test]
    fn distances_are_exact() {
        let counts = [9, 7, 5];
        let occupied = [[1usize, 2, 0], [8, 6, 4]];
        let mut data = vec![false; 9 * 7 * 5];
        for [x, y, z] in occupied {
            data[(z * 7 + y) * 9 + x] = true;
        }
        let d = distances(&Blocks { counts, data }, |&o| o);
        for z in 0..5usize {
            for y in 0..7usize {
                for x in 0..9usize {
                    let expected = occupied
                        .iter()
                        .map(|o| x.abs_diff(o[0]).max(y.abs_diff(o[1])).max(z.abs_diff(o[2])))
                        .min()
                        .unwrap();
                    assert_eq!(usize::from(d.data[(z * 7 + y) * 9 + x]), expected, "{x} {y} {z}");
                }
            }
        }
    }
}
