#![no_main]
//! A DICOM file up to its pixel data.

use formats::dicom::{is_dicom, read_header};
use insula_fuzz::{Place, fenced, fuzz_target, images};

fuzz_target!(|input: &[u8]| {
    let path = Place::get().put("in.dcm", input);
    fenced(input.len(), || {
        let _ = is_dicom(input.get(..4096).unwrap_or(input));
        match read_header(&path) {
            Ok(header) => assert!(header.notices.iter().all(|n| n.message.len() < 4000)),
            Err(e) => images::blames_the_file(&e),
        }
    });
});
