#![no_main]
//! PyTorch checkpoints: a zip archive with a pickle in it. What is read is written as safetensors and read again.

use insula_fuzz::{fuzz_target, weights};

fuzz_target!(|input: &[u8]| weights::round_trip(input));
