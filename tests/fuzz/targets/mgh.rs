#![no_main]
//! MGH and MGZ.

use formats::mgh::Mgh;
use insula_fuzz::{fuzz_target, images};

fuzz_target!(|input: &[u8]| images::round_trip(&Mgh, input, "in.mgh", &["mgh", "mgz"]));
