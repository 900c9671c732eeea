//! Flooding from a seed, run by run.

use std::ops::Range;

use formats::Task;

use super::error::{Error, Result};

/// The voxels that can be reached from `seed` through faces of accepted voxels, as ranges of positions in memory, each
/// voxel once. `accepts(ijk, position)` may be asked several times for one voxel.
///
/// # Errors
/// [`Error::OverCap`] beyond `cap` voxels, [`Error::Cancelled`].
pub(super) fn flood(
    size_ijk: [usize; 3],
    seed: [usize; 3],
    cap: u64,
    task: &Task,
    accepts: impl Fn([usize; 3], usize) -> bool,
) -> Result<Vec<Range<usize>>> {
    let [ni, nj, nk] = size_ijk;
    let mut seen = vec![0u64; (ni * nj * nk).div_ceil(64)];
    let is_seen = |seen: &[u64], at: usize| seen[at / 64] >> (at % 64) & 1 == 1;
    let mut out = Vec::new();
    let mut voxels = 0u64;
    let mut open = Vec::new();
    let at = |[i, j, k]: [usize; 3]| (k * nj + j) * ni + i;
    if accepts(seed, at(seed)) {
        open.push(seed);
    }
    let mut turn = 0u32;
    while let Some([i, j, k]) = open.pop() {
        let row = at([0, j, k]);
        if is_seen(&seen, row + i) {
            continue;
        }
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(4096) {
            task.check()?;
        }
        let takes = |i: usize| accepts([i, j, k], row + i);
        let first = (0..i).rev().take_while(|&i| takes(i)).last().unwrap_or(i);
        let end = (i + 1..ni).take_while(|&i| takes(i)).last().map_or(i, |last| last) + 1;
        for n in row + first..row + end {
            seen[n / 64] |= 1 << (n % 64);
        }
        voxels += (end - first) as u64;
        if voxels > cap {
            return Err(Error::OverCap { cap });
        }
        out.push(row + first..row + end);
        let mut look = |j: usize, k: usize| {
            let row = at([0, j, k]);
            let mut was_taken = false;
            for i in first..end {
                let taken = !is_seen(&seen, row + i) && accepts([i, j, k], row + i);
                if taken && !was_taken {
                    open.push([i, j, k]);
                }
                was_taken = taken;
            }
        };
        if j > 0 {
            look(j - 1, k);
        }
        if j + 1 < nj {
            look(j + 1, k);
        }
        if k > 0 {
            look(j, k - 1);
        }
        if k + 1 < nk {
            look(j, k + 1);
        }
    }
    out.sort_unstable_by_key(|r| r.start);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_spreading_voxel_by_voxel(bits in prop::collection::vec(prop::bool::weighted(0.6), 6 * 5 * 7)) {
            let size = [6, 5, 7];
            let seed = [3usize, 2, 3];
            let found = flood(size, seed, 1000, &Task::silent(), |_, at| bits[at]).unwrap();
            let mut reached = vec![false; bits.len()];
            let at = |[i, j, k]: [usize; 3]| (k * 5 + j) * 6 + i;
            reached[at(seed)] = bits[at(seed)];
            for _ in 0..bits.len() {
                for k in 0..7usize { for j in 0..5usize { for i in 0..6usize {
                    let p: [usize; 3] = [i, j, k];
                    let near = (0..3).any(|a| {
                        let mut less = p;
                        let mut more = p;
                        less[a] = p[a].wrapping_sub(1);
                        more[a] += 1;
                        (p[a] > 0 && reached[at(less)]) || (more[a] < size[a] && reached[at(more)])
                    });
                    reached[at(p)] |= bits[at(p)] && near;
                }}}
            }
            let mut flooded = vec![false; bits.len()];
            for n in found.into_iter().flatten() {
                prop_assert!(!flooded[n], "twice");
                flooded[n] = true;
            }
            prop_assert_eq!(flooded, reached);
        }
    }
}
