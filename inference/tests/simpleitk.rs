//! Resampling against SimpleITK's, stored by `fixtures/make_resample.py`.

use formats::{Affine, Grid, Task};
use inference::Gridded;
use inference::resample::{Interpolation, Outside, resample};
use ndarray::Array3;
use safetensors::SafeTensors;

fn array(file: &SafeTensors<'_>, name: &str) -> Array3<f32> {
    let t = file.tensor(name).unwrap();
    let values = t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Array3::from_shape_vec([t.shape()[0], t.shape()[1], t.shape()[2]], values).unwrap()
}

fn grid(file: &SafeTensors<'_>, name: &str, array: &Array3<f32>) -> Grid {
    let t = file.tensor(&format!("{name}.placement")).unwrap();
    let v: Vec<f64> = t.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    let row = |r: usize| [v[4 * r], v[4 * r + 1], v[4 * r + 2], v[4 * r + 3]];
    let (k, j, i) = array.dim();
    Grid { size_ijk: [i, j, k], world_from_voxel: Affine([row(0), row(1), row(2)]) }
}

#[test]
fn values_equal_simpleitk() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/resample.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let source = array(&file, "source");
    let source = Gridded { grid: grid(&file, "source", &source), array: source };
    for name in ["finer", "coarser", "flipped", "oblique"] {
        for (how, suffix) in [(Interpolation::Linear, "linear"), (Interpolation::Nearest, "nearest")] {
            let wanted = array(&file, &format!("{name}.{suffix}"));
            let onto = grid(&file, name, &wanted);
            let moved =
                resample(&source.view(), &onto, how, Outside::Value(-1000.0), &Task::silent()).unwrap();
            let most = moved.iter().zip(&wanted).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(wanted.iter().any(|v| *v == -1000.0) && wanted.iter().any(|v| *v > 0.0));
            assert!(most < 1e-3, "{name} {suffix}: {most}");
        }
    }
}
