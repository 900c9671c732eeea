#![no_main]
//! The pickle of a PyTorch checkpoint, in a sound archive around it: mutations of an archive seldom get so far.

use insula_fuzz::{fuzz_target, weights, zip};

fuzz_target!(|input: &[u8]| {
    let storage = [0x3f; 64];
    let parts: [(&str, &[u8]); 3] = [("m/data.pkl", input), ("m/data/0", &storage), ("m/data/1", &storage)];
    weights::round_trip(&zip::stored(&parts));
});
