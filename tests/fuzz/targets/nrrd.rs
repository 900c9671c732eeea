#![no_main]
//! NRRD, attached or with its data in other files: `data.raw` and `a/data.raw`, which hold the same bytes.

use formats::nrrd::Nrrd;
use insula_fuzz::{Place, fuzz_target, images};

fuzz_target!(|input: &[u8]| {
    if input.windows(9).any(|w| w == b"data file" || w.starts_with(b"datafile")) {
        for name in ["data.raw", "a/data.raw", "data1.raw", "data2.raw"] {
            Place::get().put(name, input);
        }
    }
    images::round_trip(&Nrrd, input, "in.nrrd", &["nrrd"]);
});
