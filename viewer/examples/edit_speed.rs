//! How long edits of a 256³ volume of 1 mm take: `cargo run --release -p viewer --example edit_speed`.

#![expect(clippy::print_stdout, reason = "a benchmark for the terminal")]

use std::time::Instant;

use formats::components::Connectivity;
use formats::{Grid, LabelTable, Shared, Task, Volume, Voxels};
use ndarray::Array3;
use viewer::measure::{Shape, plane_region};
use viewer::tools::{
    Brush, Extent, History, LabelEdit, Over, Tip, ValueRange, grow, interpolate, keep_largest, merge, region,
    smooth, smooth_all, stroke,
};
use viewer::{LayerId, Plane};

const N: usize = 256;

/// Least of five times, in milliseconds.
fn least<T>(title: &str, mut work: impl FnMut() -> T) -> T {
    let mut best = f64::INFINITY;
    let mut out = None;
    for _ in 0..5 {
        let start = Instant::now();
        out = Some(work());
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("{title:<58} {best:9.2} ms");
    out.unwrap_or_else(|| unreachable!("five turns"))
}

fn main() {
    let grid = Grid::unit([N; 3]);
    let task = Task::silent();
    // Thirty nested shells cut by planes, with specks: as many borders as a whole-brain segmentation.
    let mut state = 1u32;
    let labels: Shared<u16> = Array3::from_shape_fn((N, N, N), |(k, j, i)| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let r = [i, j, k].map(|x| (x as f64 - 127.5).powi(2)).iter().sum::<f64>().sqrt();
        let shell = (r / 8.0) as u16;
        if state >> 20 == 0 {
            5
        } else if r > 120.0 {
            0
        } else {
            1 + shell * 2 + u16::from(i > 127)
        }
    })
    .into_shared();
    let values = Array3::from_shape_fn((N, N, N), |(k, j, i)| ((i * 3 + j * 5 + k * 7) % 1000) as i16);
    let image = Volume::new(Voxels::I16(values.into_shared()), grid).unwrap_or_else(|e| panic!("{e}"));
    let values = ValueRange { image: &image, low: 100.0, high: 900.0 };

    let ball = Brush { tip: Tip::Ball, radius_mm: 20.0, label: 99, over: Over::Everything };
    let from = [120.0, 128.0, 128.0];
    let to = [126.0, 130.0, 128.0];
    let edit = least("brush step, ball of 20 mm radius", || {
        stroke(&labels, &grid, &ball, &[from, to], None).unwrap()
    });
    least("  the same within a value range", || {
        stroke(&labels, &grid, &ball, &[from, to], Some(values)).unwrap()
    });
    let mut own = labels.as_standard_layout().to_owned().into_shared();
    let mut table = LabelTable::default();
    least("  applying and reverting it", || {
        edit.apply(&mut own, &mut table).unwrap();
        edit.revert(&mut own, &mut table).unwrap();
    });
    println!(
        "  {} voxels, {} runs, {} bytes, {} encoded",
        edit.voxels(),
        edit.runs().len(),
        edit.byte_size(),
        edit.encode().len()
    );
    least("stroke of 200 steps with history", || {
        let (mut labels, mut history, layer) =
            (own.as_standard_layout().to_owned().into_shared(), History::default(), LayerId::fresh());
        for n in 0..200 {
            let x = |n: i32| [28.0 + f64::from(n), 128.0, 128.0];
            let edit = stroke(&labels, &grid, &ball, &[x(n), x(n + 1)], None).unwrap();
            edit.apply(&mut labels, &mut table).unwrap();
            history.extend(layer, "Brush", edit);
        }
        history.bytes()
    });
    let part = least("keep the largest part of each of 30 labels", || {
        keep_largest(&labels, None, Connectivity::Six, &task).unwrap()
    });
    println!("  {} voxels removed", part.voxels());
    least("region growing over the volume", || {
        region(
            &labels,
            &grid,
            [128.0; 3],
            99,
            Extent::Volume,
            ValueRange { low: -1.0, high: 2000.0, ..values },
            &Over::Everything,
            u64::MAX,
            &task,
        )
        .unwrap()
        .voxels()
    });
    least("grow a label of the size of the brain by 3 mm", || {
        grow(&labels, &grid, 27, 3.0, &Over::Everything, &task).unwrap()
    });
    least("smooth it by 1 mm", || smooth(&labels, &grid, 27, 1.0, &Over::Everything, &task).unwrap());
    least("smooth all 30 labels by 1 mm", || smooth_all(&labels, &grid, None, 1.0, &task).unwrap());
    least("merge two labels", || merge(&labels, &table, &[27], 28));
    let mut painted: Shared<u16> = Array3::zeros((N, N, N)).into_shared();
    for k in (0..N).step_by(15) {
        let disc = Brush {
            tip: Tip::Disc(Plane::Axial),
            radius_mm: 40.0 + (k % 7) as f64,
            label: 1,
            over: Over::Everything,
        };
        stroke(&painted, &grid, &disc, &[[128.0, 128.0, k as f64]], None)
            .unwrap()
            .apply(&mut painted, &mut table)
            .unwrap();
    }
    least("interpolate between 18 slices", || {
        interpolate(&painted, &grid, 1, 2, &Over::Background, &task).unwrap()
    });
    let circle = Shape::Circle { centre: [128.0; 2], radius_mm: 60.0 };
    least("statistics of a circle of 60 mm", || plane_region(&image, Plane::Axial, 128.0, &circle).unwrap());
    let whole =
        least("labels as an edit of an empty volume (journal base)", || LabelEdit::painting(&labels, 0..N));
    println!("  {} runs, {} bytes encoded", whole.runs().len(), whole.encode().len());
}
