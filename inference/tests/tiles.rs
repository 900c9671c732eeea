//! Plans and blending against the definition written out.

use formats::{Cancel, Task};
use inference::tiles::{Plan, Rule, Weights, run_tiles, run_tiles_in_layers};
use inference::{Error, FakeNet, Port};
use ndarray::{Array4, Array5, ArrayD, Axis, Ix5, s};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two scores per voxel that depend on the whole tile and on the place within it.
fn answer(tiles: &Array5<f32>) -> Array5<f32> {
    let (n, c, d, h, w) = tiles.dim();
    Array5::from_shape_fn((n, 2, d, h, w), |(n, k, z, y, x)| {
        let own: f32 = (0..c).map(|c| tiles[[n, c, z, y, x]] * (c + k + 1) as f32).sum();
        let mean = tiles.index_axis(Axis(0), n).mean().unwrap();
        own + mean * 3.0 + (z * 5 + y * 3 + x) as f32 * 0.01
    })
}

fn net() -> FakeNet {
    let port = |name: &str, c| Port { name: name.into(), dims: vec![None, Some(c), None, None, None] };
    FakeNet::new(vec![port("image", 3)], vec![port("logits", 2)], |inputs| {
        let x = inputs[0].1.to_owned().into_dimensionality::<Ix5>().unwrap();
        Ok(vec![answer(&x).into_dyn()])
    })
}

/// Pads, cuts, runs, sums, divides, crops.
fn naive(input: &Array4<f32>, plan: &Plan, weights: Weights) -> Array4<f32> {
    let (c, d, h, w) = input.dim();
    let patch = plan.patch();
    let shape = [d, h, w];
    let before: Vec<usize> = (0..3).map(|a| patch[a].saturating_sub(shape[a]) / 2).collect();
    let big: Vec<usize> = (0..3).map(|a| shape[a].max(patch[a])).collect();
    let mut padded = Array4::<f32>::zeros((c, big[0], big[1], big[2]));
    padded
        .slice_mut(s![.., before[0]..before[0] + d, before[1]..before[1] + h, before[2]..before[2] + w])
        .assign(input);
    let mut sum = Array4::<f64>::zeros((2, big[0], big[1], big[2]));
    let mut total = Array4::<f64>::zeros((2, big[0], big[1], big[2]));
    for start in plan.starts() {
        let at: Vec<usize> = (0..3).map(|a| (start[a] + before[a] as i64) as usize).collect();
        let range = s![.., at[0]..at[0] + patch[0], at[1]..at[1] + patch[1], at[2]..at[2] + patch[2]];
        let tile = padded.slice(range).to_owned().insert_axis(Axis(0));
        let scores = answer(&tile);
        for (i, &v) in scores.index_axis(Axis(0), 0).indexed_iter() {
            let (k, place) = (i.0, [i.1, i.2, i.3]);
            let weight: f64 = match weights {
                Weights::Constant => 1.0,
                Weights::Ramp => (0..3)
                    .map(|a| {
                        let (n, x) = (patch[a] as f64, place[a] as f64 + 0.5);
                        (x.min(n - x) / (0.5 * n).max(1.0)).min(1.0)
                    })
                    .product(),
                Weights::Gaussian => (0..3)
                    .map(|a| {
                        let n = patch[a] as f64;
                        (-0.5 * ((place[a] as f64 - (n - 1.0) / 2.0) / (n / 8.0)).powi(2)).exp()
                    })
                    .product(),
            };
            let to = [k, at[0] + place[0], at[1] + place[1], at[2] + place[2]];
            sum[to] += weight * f64::from(v);
            total[to] += weight;
        }
    }
    let mean = (sum / total).mapv(|v| v as f32);
    mean.slice(s![.., before[0]..before[0] + d, before[1]..before[1] + h, before[2]..before[2] + w])
        .to_owned()
}

#[test]
fn monai_starts_and_counts() {
    // The golden cases' geometry: 40×36×48 gives 8 windows of 32³, 25×40×32 two, the first axis padded by 3 and 4.
    let a = Plan::new([40, 36, 48], [32; 3], 0.5, Rule::Monai, Weights::Constant).unwrap();
    assert_eq!(a.count(), 8);
    assert_eq!(a.axis_starts(0), [0, 8]);
    assert_eq!(a.axis_starts(1), [0, 4]);
    assert_eq!(a.axis_starts(2), [0, 16]);
    let b = Plan::new([25, 40, 32], [32; 3], 0.5, Rule::Monai, Weights::Constant).unwrap();
    assert_eq!(b.starts().collect::<Vec<_>>(), [[-3, 0, 0], [-3, 8, 0]]);
    let c = Plan::new([155, 240, 240], [128; 3], 0.5, Rule::Monai, Weights::Constant).unwrap();
    assert_eq!(c.count(), 18);
    assert_eq!(c.axis_starts(1), [0, 64, 112]);
    let even = Plan::new([155, 240, 240], [128; 3], 0.5, Rule::Even, Weights::Constant).unwrap();
    assert_eq!(even.axis_starts(1), [0, 56, 112]);
}

#[test]
fn plans_cover_everything_and_refuse_nonsense() {
    for n in [1, 5, 31, 32, 33, 63, 64, 65, 100] {
        for overlap in [0.0, 0.25, 0.5, 0.7, 0.95] {
            for rule in [Rule::Even, Rule::Monai] {
                let plan = Plan::new([n, 40, 7], [32, 32, 32], overlap, rule, Weights::Constant).unwrap();
                let starts = plan.axis_starts(0);
                assert_eq!(starts[0], 0);
                assert_eq!(starts[starts.len() - 1], n.saturating_sub(32));
                let step = ((32.0 * (1.0 - overlap) + 1e-9).floor() as usize).max(1);
                assert!(
                    starts.windows(2).all(|s| s[1] > s[0] && s[1] - s[0] <= step),
                    "{n} {overlap} {starts:?}"
                );
            }
        }
    }
    for overlap in [-0.1, 1.0, f64::NAN] {
        assert!(Plan::new([9; 3], [3; 3], overlap, Rule::Even, Weights::Constant).is_err());
    }
    assert!(Plan::new([0, 1, 1], [3; 3], 0.5, Rule::Even, Weights::Constant).is_err());
    assert!(Plan::new([1, 1, 1], [3, 0, 3], 0.5, Rule::Even, Weights::Constant).is_err());
    assert!(Plan::new([1 << 30; 3], [32; 3], 0.5, Rule::Even, Weights::Constant).is_err());
}

#[test]
fn blending_equals_its_definition() {
    for (shape, patch) in
        [([13, 9, 11], [5, 4, 6]), ([5, 4, 6], [5, 4, 6]), ([3, 9, 4], [6, 5, 9]), ([2, 2, 2], [5, 5, 5])]
    {
        let [d, h, w] = shape;
        let input = Array4::from_shape_fn((3, d, h, w), |(c, z, y, x)| {
            ((c * 7 + z * 5 + y * 3 + x * 2) % 11) as f32 - 4.0
        });
        for rule in [Rule::Even, Rule::Monai] {
            for weights in [Weights::Constant, Weights::Gaussian] {
                for (overlap, batch) in [(0.0, 1), (0.5, 4), (0.75, 3)] {
                    let plan = Plan::new(shape, patch, overlap, rule, weights).unwrap().with_batch(batch);
                    let wanted = naive(&input, &plan, weights);
                    let scores = run_tiles(&mut net(), input.view(), &plan, &Task::silent()).unwrap();
                    let most = (&scores - &wanted).iter().fold(0.0f32, |m, d| m.max(d.abs()));
                    assert!(most < 1e-4, "{shape:?} {rule:?} {weights:?} {overlap}: {most}");
                    let mut layers = Array4::<f32>::from_elem(scores.dim(), f32::NAN);
                    run_tiles_in_layers(&mut net(), input.view(), &plan, &Task::silent(), |from, part| {
                        layers.slice_mut(s![.., from..from + part.dim().1, .., ..]).assign(&part);
                        Ok(())
                    })
                    .unwrap();
                    assert_eq!(layers, scores);
                }
            }
        }
    }
}

#[test]
fn progress_counts_and_a_cancel_stops_within_a_tile() {
    let runs = Arc::new(AtomicUsize::new(0));
    let cancel = Cancel::default();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let task = {
        let seen = seen.clone();
        Task::new(cancel.clone(), move |_, f| seen.lock().unwrap().push(f))
    };
    let port = |name: &str| Port { name: name.into(), dims: vec![None; 5] };
    let mut net = {
        let (runs, cancel) = (runs.clone(), cancel.clone());
        FakeNet::new(vec![port("x")], vec![port("y")], move |inputs| {
            if runs.fetch_add(1, Ordering::SeqCst) == 3 {
                cancel.cancel();
            }
            Ok(vec![inputs[0].1.to_owned()])
        })
    };
    let plan = Plan::new([64, 8, 8], [8; 3], 0.0, Rule::Even, Weights::Constant).unwrap();
    let result = run_tiles(&mut net, Array4::zeros((1, 64, 8, 8)).view(), &plan, &task);
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    assert_eq!(*seen.lock().unwrap(), [0.0, 0.125, 0.25, 0.375]);
}

#[test]
fn outputs_of_another_size_are_refused() {
    let port = |name: &str| Port { name: name.into(), dims: vec![None; 5] };
    let mut net =
        FakeNet::new(vec![port("x")], vec![port("y")], |_| Ok(vec![ArrayD::zeros(vec![1, 2, 4, 4, 3])]));
    let plan = Plan::new([4, 4, 4], [4; 3], 0.0, Rule::Even, Weights::Constant).unwrap();
    let error = run_tiles(&mut net, Array4::zeros((1, 4, 4, 4)).view(), &plan, &Task::silent()).unwrap_err();
    assert!(error.to_string().contains("[1, 2, 4, 4, 3]"), "{error}");
    let error = run_tiles(&mut net, Array4::zeros((1, 4, 4, 5)).view(), &plan, &Task::silent()).unwrap_err();
    assert!(matches!(error, Error::Argument(_)));
}
