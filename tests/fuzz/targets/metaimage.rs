#![no_main]
//! MetaImage, attached or with its data in other files, which hold the same bytes.

use formats::metaimage::MetaImage;
use insula_fuzz::{Place, fuzz_target, images};

fuzz_target!(|input: &[u8]| {
    if input.windows(4).any(|w| w == b".raw") {
        for name in ["data.raw", "a/data.raw", "data1.raw", "data2.raw"] {
            Place::get().put(name, input);
        }
    }
    images::round_trip(&MetaImage, input, "in.mha", &["mha"]);
});
