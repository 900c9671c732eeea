//! Exact algebra on the weights: layers that are linear in a row become one, in double precision.
//!
//! Matrices are row-major slices; `[m×n]` in comments is rows by columns.

/// Added to variances by every norm of the network (PyTorch's default for both kinds).
pub const EPSILON: f64 = 1e-5;

/// A linear layer `y = W·x + b` with `W` `[outputs×inputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[outputs×inputs]`.
    pub weight: Vec<f64>,
    /// One per output.
    pub bias: Vec<f64>,
}

/// Parameters and running statistics of a batch norm, one value per channel.
pub struct BatchNorm {
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub mean: Vec<f64>,
    pub var: Vec<f64>,
}

/// Merges a batch norm into the layer before it: `s·(W·x + b − mean) + bias` with `s = weight / √(var + ε)`.
pub fn fold_batch_norm(layer: &mut Linear, norm: &BatchNorm) {
    let per_output = layer.weight.len() / norm.weight.len().max(1);
    for (o, row) in layer.weight.chunks_mut(per_output.max(1)).enumerate() {
        let scale = norm.weight[o] / (norm.var[o] + EPSILON).sqrt();
        row.iter_mut().for_each(|w| *w *= scale);
        layer.bias[o] = (layer.bias[o] - norm.mean[o]) * scale + norm.bias[o];
    }
}

/// Multiplies all outputs of a layer by a number.
pub fn scale(layer: &mut Linear, factor: f64) {
    layer.weight.iter_mut().chain(&mut layer.bias).for_each(|w| *w *= factor);
}

/// `A·B` for `A` `[m×k]` and `B` `[k×n]`.
pub fn product(a: &[f64], b: &[f64], k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.len() / k * n];
    for (row, out_row) in a.chunks(k).zip(out.chunks_mut(n)) {
        for (&factor, b_row) in row.iter().zip(b.chunks(n)) {
            for (o, &v) in out_row.iter_mut().zip(b_row) {
                *o += factor * v;
            }
        }
    }
    out
}

/// `[m×n]` to `[n×m]`.
pub fn transpose(a: &[f64], n: usize) -> Vec<f64> {
    let m = a.len() / n;
    (0..n * m).map(|i| a[i % m * n + i / m]).collect()
}

/// Attention of a block, after what softmax makes redundant is gone.
///
/// Scores change by one amount per query when the key bias changes, which softmax ignores; probabilities sum to one,
/// so the value bias passes through attention unchanged and joins the bias of `proj`.
pub struct Attention {
    /// Scaled query layer `[C×C]`.
    pub query: Linear,
    /// Key weights `[C×C]`.
    pub key: Vec<f64>,
    /// Value weights `[C×C]`; with one head they include `proj`.
    pub value: Vec<f64>,
    /// Output weights `[C×C]`, absent when merged into the values.
    pub proj: Option<Vec<f64>>,
    /// Output bias.
    pub bias: Vec<f64>,
}

/// Merges the parts of an attention layer with `heads` heads whose scores are divided by `√divisor`.
pub fn attention(
    mut query: Linear,
    key_value: &Linear,
    proj: &Linear,
    heads: usize,
    divisor: usize,
) -> Attention {
    let c = query.bias.len();
    scale(&mut query, 1.0 / (divisor as f64).sqrt());
    let (key, value) = key_value.weight.split_at(c * c);
    let value_bias = &key_value.bias[c..];
    let passed = product(&proj.weight, value_bias, c, 1);
    let bias = proj.bias.iter().zip(passed).map(|(b, v)| b + v).collect();
    let (value, proj) = if heads == 1 {
        (product(&proj.weight, value, c, c), None)
    } else {
        (value.to_vec(), Some(proj.weight.clone()))
    };
    Attention { query, key: key.to_vec(), value, proj, bias }
}

/// A decoder branch: `y = after·norm(before·x + before.bias) + constant`, where `norm` is a layer norm without
/// affine part.
pub struct Branch {
    /// `[width×C]` and its bias.
    pub before: Linear,
    /// Epsilon of the layer norm over `width` values.
    pub epsilon: f64,
    /// `[E×width]`; its bias is the branch's constant.
    pub after: Linear,
}

/// Merges the affine part of the layer norm of a decoder branch, and the branch's columns `fuse` `[E×E]` of the fuse
/// convolution; then narrows the branch where that saves work.
///
/// Narrowing: the normalised vector `P·x + b`, less its mean, lies in the image of `[Pc | bc]`, which has only
/// `C + 1` dimensions, while it has `E` entries. With `[Pc | bc] = Q·R` (orthonormal `Q`) and a matrix `H` of
/// `C + 2` rows whose columns are orthonormal and sum to zero, `u = H·R·[x; 1]` has zero mean and the same sum of
/// squares. So a layer norm over the `C + 2` entries of `u` with epsilon `ε·E/(C+2)` gives the same numbers as
/// the one over `E` up to the factor `√((C+2)/E)` and the basis change `Q·Hᵀ`, and both join the next layer.
pub fn branch(proj: &Linear, norm: &Linear, fuse: &[f64], channels: usize) -> Branch {
    let e = proj.bias.len();
    let constant = product(fuse, &norm.bias, e, 1);
    let mut scaled = fuse.to_vec();
    for row in scaled.chunks_mut(e) {
        row.iter_mut().zip(&norm.weight).for_each(|(f, g)| *f *= g);
    }
    let width = channels + 2;
    if width >= e {
        let after = Linear { weight: scaled, bias: constant };
        return Branch { before: proj.clone(), epsilon: EPSILON, after };
    }
    // [Pc | bc], each column less its mean.
    let n = channels + 1;
    let mut centred = vec![0.0; e * n];
    for (row, (p, b)) in centred.chunks_mut(n).zip(proj.weight.chunks(channels).zip(&proj.bias)) {
        row[..channels].copy_from_slice(p);
        row[channels] = *b;
    }
    for j in 0..n {
        let mean = (0..e).map(|i| centred[i * n + j]).sum::<f64>() / e as f64;
        (0..e).for_each(|i| centred[i * n + j] -= mean);
    }
    let (q, r) = orthonormalise(&centred, n);
    let h = zero_sum_basis(width);
    let before = product(&h, &r, n, n);
    let q_scaled = product(&scaled, &q, e, n);
    let mut weight = product(&q_scaled, &transpose(&h, n), n, width);
    let factor = (e as f64 / width as f64).sqrt();
    weight.iter_mut().for_each(|w| *w *= factor);
    Branch {
        before: Linear {
            weight: before.chunks(n).flat_map(|row| &row[..channels]).copied().collect(),
            bias: before.chunks(n).map(|row| row[channels]).collect(),
        },
        epsilon: EPSILON * e as f64 / width as f64,
        after: Linear { weight, bias: constant },
    }
}

/// `A = Q·R` for `A` `[m×n]`, by modified Gram–Schmidt done twice; a column that depends on earlier ones gets a zero
/// column in `Q`.
fn orthonormalise(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let m = a.len() / n;
    let mut columns = transpose(a, n);
    let mut r = vec![0.0; n * n];
    for j in 0..n {
        let (done, rest) = columns.split_at_mut(j * m);
        let v = &mut rest[..m];
        let before = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        for _ in 0..2 {
            for (i, q) in done.chunks(m).enumerate() {
                let dot: f64 = q.iter().zip(&*v).map(|(x, y)| x * y).sum();
                r[i * n + j] += dot;
                v.iter_mut().zip(q).for_each(|(y, x)| *y -= dot * x);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > before * 1e-13 {
            r[j * n + j] = norm;
            v.iter_mut().for_each(|y| *y /= norm);
        } else {
            v.fill(0.0);
        }
    }
    (transpose(&columns, m), r)
}

/// `[n×(n−1)]` with orthonormal columns that sum to zero (Helmert's matrix).
fn zero_sum_basis(n: usize) -> Vec<f64> {
    let mut h = vec![0.0; n * (n - 1)];
    for j in 0..n - 1 {
        let k = (j + 1) as f64;
        let norm = (k * (k + 1.0)).sqrt();
        for i in 0..=j {
            h[i * (n - 1) + j] = 1.0 / norm;
        }
        h[(j + 1) * (n - 1) + j] = -k / norm;
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [−1, 1) that look random and are always the same.
    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..count)
            .map(|_| {
                z ^= z << 13;
                z ^= z >> 7;
                z ^= z << 17;
                (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    fn apply(layer: &Linear, x: &[f64]) -> Vec<f64> {
        product(&layer.weight, x, x.len(), 1).iter().zip(&layer.bias).map(|(y, b)| y + b).collect()
    }

    fn layer_norm(x: &[f64], epsilon: f64) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
        x.iter().map(|v| (v - mean) / (var + epsilon).sqrt()).collect()
    }

    #[test]
    fn a_narrowed_branch_gives_the_same_numbers() {
        for (channels, e) in [(3, 16), (8, 16), (14, 16), (15, 16), (24, 16), (1, 7)] {
            let mut proj = Linear { weight: numbers(e * channels, 1), bias: numbers(e, 2) };
            let norm = Linear { weight: numbers(e, 3), bias: numbers(e, 4) };
            let fuse = numbers(e * e, 5);
            for size in [1.0, 1e-3] {
                // Small values make the epsilon matter.
                scale(&mut proj, size);
                let narrow = branch(&proj, &norm, &fuse, channels);
                let x = numbers(channels, 6);
                let mut y = layer_norm(&apply(&proj, &x), EPSILON);
                y.iter_mut().zip(norm.weight.iter().zip(&norm.bias)).for_each(|(v, (g, b))| *v = *v * g + b);
                let expected = product(&fuse, &y, e, 1);
                let found = apply(&narrow.after, &layer_norm(&apply(&narrow.before, &x), narrow.epsilon));
                let worst = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(worst < 1e-11, "{channels} of {e}: off by {worst}");
            }
        }
    }

    #[test]
    fn dependent_columns_are_no_trouble() {
        let (channels, e) = (4, 12);
        let proj = Linear { weight: vec![0.5; e * channels], bias: numbers(e, 2) };
        let norm = Linear { weight: vec![1.0; e], bias: vec![0.0; e] };
        let identity: Vec<f64> = (0..e * e).map(|i| f64::from(u8::from(i % (e + 1) == 0))).collect();
        let narrow = branch(&proj, &norm, &identity, channels);
        let x = numbers(channels, 6);
        let expected = layer_norm(&apply(&proj, &x), EPSILON);
        let found = apply(&narrow.after, &layer_norm(&apply(&narrow.before, &x), narrow.epsilon));
        assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-11));
    }

    #[test]
    fn a_folded_batch_norm_gives_the_same_numbers() {
        let mut layer = Linear { weight: numbers(15, 1), bias: numbers(5, 2) };
        let x = numbers(3, 3);
        let before = apply(&layer, &x);
        let norm = BatchNorm {
            weight: numbers(5, 4),
            bias: numbers(5, 5),
            mean: numbers(5, 6),
            var: numbers(5, 7).iter().map(|v| v.abs()).collect(),
        };
        fold_batch_norm(&mut layer, &norm);
        for (o, y) in apply(&layer, &x).iter().enumerate() {
            let expected =
                (before[o] - norm.mean[o]) / (norm.var[o] + 1e-5).sqrt() * norm.weight[o] + norm.bias[o];
            assert!((y - expected).abs() < 1e-12);
        }
    }
}
