#![no_main]
//! NIfTI-1, NIfTI-2 and Analyze. A header of a pair is its own image file too: both names hold the same bytes.

use formats::nifti::Nifti;
use insula_fuzz::{Place, fuzz_target, images};

fuzz_target!(|input: &[u8]| {
    let is_pair = input.get(344..347) == Some(b"ni1") || input.get(4..7) == Some(b"ni2");
    if is_pair {
        Place::get().put("in.img", input);
        images::round_trip(&Nifti, input, "in.hdr", &["nii"]);
    } else {
        images::round_trip(&Nifti, input, "in.nii", &["nii", "nii.gz"]);
    }
});
