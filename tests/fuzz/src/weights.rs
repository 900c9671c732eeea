//! What any weights file must give, and what must survive writing and reading.

use std::path::Path;

use models::Error;
use models::checkpoint::{Checkpoint, NamedTensor, read};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::fence::ANY;
use crate::{Place, fenced};

/// Reads `input`; writes what it held as safetensors, reads that and compares.
pub fn round_trip(input: &[u8]) {
    let path = Place::get().put("weights", input);
    let Some(first) = fenced(input.len(), || gives(&path)) else { return };
    fenced(ANY, || compare(&first));
}

fn compare(first: &Checkpoint) {
    for tensor in &first.tensors {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "{}", tensor.name);
    }
    let bytes: Vec<Vec<u8>> = first.tensors.iter().map(|t| bytemuck::cast_slice(&t.data).to_vec()).collect();
    let views: Option<Vec<_>> = first.tensors.iter().zip(&bytes).map(|(t, b)| view(t, b)).collect();
    // A name that safetensors keeps for itself, or a size beyond its reach, ends the comparison.
    let Some(Ok(written)) = views.map(|v| safetensors::serialize(v, None)) else { return };
    if first.tensors.iter().any(|t| t.name == "__metadata__") {
        return;
    }
    let path = Place::get().put("written", &written);
    let second = read(&path).unwrap_or_else(|e| panic!("what was written cannot be read: {e}"));
    let sorted = |c: &Checkpoint| {
        let mut all: Vec<_> =
            c.tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), bits(&t.data))).collect();
        all.sort();
        all
    };
    assert!(sorted(first) == sorted(&second), "weights differ");
}

fn view<'a>(tensor: &'a NamedTensor, bytes: &'a [u8]) -> Option<(&'a str, TensorView<'a>)> {
    Some((tensor.name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).ok()?))
}

fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|v| v.to_bits()).collect()
}

/// The weights, or `None` when the error is one about the file.
fn gives(path: &Path) -> Option<Checkpoint> {
    read(path).map_err(|e| blames_the_file(&e)).ok()
}

/// The error must be about the content, in one line that says something.
pub fn blames_the_file(e: &Error) {
    let text = e.to_string();
    assert!(
        text.len() < 4000,
        "an error of {} bytes: {}",
        text.len(),
        text.chars().take(500).collect::<String>()
    );
    assert!(
        matches!(e, Error::Checkpoint { .. } | Error::Pack { .. }),
        "not about the content of the file: {e:?}"
    );
}
