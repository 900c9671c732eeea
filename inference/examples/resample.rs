//! Times resampling of a raw volume: the other half of `tests/bench/resample.py`.
//!
//! `resample IN OUT THREADS REPEATS SOURCE TARGET`, grids as `ni,nj,nk,si,sj,sk,oi,oj,ok` (sizes, spacings, origin);
//! volumes are little-endian f32, `i` fastest. Prints seconds per run, one per line.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use formats::{Affine, Grid, Task};
use inference::Gridded;
use inference::resample::{Interpolation, Outside, resample};
use ndarray::Array3;

fn grid(text: &str) -> Grid {
    let v: Vec<f64> = text.split(',').map(|n| n.parse().expect("a number")).collect();
    Grid {
        size_ijk: [v[0] as usize, v[1] as usize, v[2] as usize],
        world_from_voxel: Affine::scale_shift([v[3], v[4], v[5]], [v[6], v[7], v[8]]),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (source, target) = (grid(&args[4]), grid(&args[5]));
    inference::threads::use_threads(args[2].parse().expect("threads"));
    let bytes = std::fs::read(&args[0]).expect("the input is readable");
    let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let array = Array3::from_shape_vec(source.shape_kji(), values).expect("the input fits its grid");
    let volume = Gridded { array, grid: source };
    let mut result = None;
    for _ in 0..args[3].parse().expect("repeats") {
        let start = Instant::now();
        let moved =
            resample(&volume.view(), &target, Interpolation::Linear, Outside::Value(0.0), &Task::silent());
        let moved = moved.expect("the grids are sound");
        println!("{}", start.elapsed().as_secs_f64());
        result = Some(moved);
    }
    let bytes: Vec<u8> = result.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&args[1], bytes).expect("the output is writable");
}
