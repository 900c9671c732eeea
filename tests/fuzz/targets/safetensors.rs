#![no_main]
//! Safetensors: a JSON header and plain arrays.

use insula_fuzz::{fuzz_target, weights};

fuzz_target!(|input: &[u8]| weights::round_trip(input));
