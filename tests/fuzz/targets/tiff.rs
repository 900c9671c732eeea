#![no_main]
//! TIFF and BigTIFF.

use formats::raster::Tiff;
use insula_fuzz::{fuzz_target, images};

fuzz_target!(|input: &[u8]| images::round_trip(&Tiff, input, "in.tif", &["tif"]));
