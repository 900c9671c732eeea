//! Parts of labels that hang apart.

use formats::components::{Components, Connectivity, Run};
use formats::{Grid, Shared, Task};

use super::edit::{EditBuilder, LabelEdit, size_ijk};
use super::error::Result;

fn is_meant(of: Option<&[u16]>, label: u16) -> bool {
    label != 0 && of.is_none_or(|of| of.contains(&label))
}

fn without(labels: &Shared<u16>, found: &Components, stays: impl Fn(&Run) -> bool) -> LabelEdit {
    let ni = size_ijk(labels)[0];
    let mut builder = EditBuilder::new(labels);
    for run in found.runs.iter().filter(|r| !stays(r)) {
        builder.paint(run.row * ni + run.from as usize, run.voxels() as usize, |_, _| 0);
    }
    builder.finish()
}

/// Keeps the largest connected part of each label; smaller parts become background. Of equal parts the first in memory
/// stays. `of` names the labels meant, `None` means all.
///
/// # Errors
/// [`super::Error::Cancelled`].
pub fn keep_largest(
    labels: &Shared<u16>,
    of: Option<&[u16]>,
    connectivity: Connectivity,
    task: &Task,
) -> Result<LabelEdit> {
    let found = Components::of(labels, connectivity, task, |l| is_meant(of, l))?;
    let largest = found.largest();
    Ok(without(labels, &found, |run| largest.get(&run.label).is_some_and(|(part, _)| *part == run.part)))
}

/// Removes connected parts of less than `below_mm3`; they become background. `of` names the labels meant, `None` means
/// all.
///
/// # Errors
/// [`super::Error::Cancelled`].
pub fn remove_islands(
    labels: &Shared<u16>,
    grid: &Grid,
    of: Option<&[u16]>,
    below_mm3: f64,
    connectivity: Connectivity,
    task: &Task,
) -> Result<LabelEdit> {
    let found = Components::of(labels, connectivity, task, |l| is_meant(of, l))?;
    let voxel_mm3 = grid.voxel_volume_mm3();
    Ok(without(labels, &found, |run| found.sizes[run.part as usize] as f64 * voxel_mm3 >= below_mm3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{Affine, LabelTable};
    use ndarray::Array3;

    fn specks() -> Shared<u16> {
        let mut a = Array3::zeros((6, 6, 10));
        a.slice_mut(ndarray::s![1..3, 1..3, 1..3]).fill(1u16); // 8 voxels
        a.slice_mut(ndarray::s![1..3, 1..3, 5..6]).fill(1); // 4
        a[[5, 5, 9]] = 1;
        a[[5, 5, 8]] = 2;
        a[[3, 3, 3]] = 1; // touches the first block by a corner only
        a.into_shared()
    }

    fn after(labels: &Shared<u16>, edit: &LabelEdit) -> [usize; 2] {
        let mut out = labels.clone();
        edit.apply(&mut out, &mut LabelTable::default()).unwrap();
        [1, 2].map(|l| out.iter().filter(|v| **v == l).count())
    }

    #[test]
    fn largest_parts_stay() {
        let labels = specks();
        let task = Task::silent();
        let keep = |of, c| after(&labels, &keep_largest(&labels, of, c, &task).unwrap());
        assert_eq!(keep(None, Connectivity::Six), [8, 1]);
        assert_eq!(keep(None, Connectivity::TwentySix), [9, 1]);
        assert_eq!(keep(Some(&[2]), Connectivity::Six), [14, 1]);
    }

    #[test]
    fn islands_are_measured_in_cubic_millimetres() {
        let labels = specks();
        let grid =
            Grid { size_ijk: [10, 6, 6], world_from_voxel: Affine::scale_shift([0.5, 2.0, 3.0], [0.0; 3]) };
        let task = Task::silent();
        let drop = |mm3| {
            after(&labels, &remove_islands(&labels, &grid, None, mm3, Connectivity::Six, &task).unwrap())
        };
        assert_eq!(drop(3.0), [14, 1], "a part of just the size stays");
        assert_eq!(drop(3.1), [12, 0]);
        assert_eq!(drop(12.1), [8, 0]);
    }
}
