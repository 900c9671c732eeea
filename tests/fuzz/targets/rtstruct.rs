#![no_main]
//! Structure sets on the image they were drawn on. What is read is written as contours and as a segmentation, and read again.

use formats::Task;
use formats::dicom::rtstruct::{self, Holes, RtOptions};
use insula_fuzz::fence::ANY;
use insula_fuzz::{Place, fenced, fuzz_target, labels};

fuzz_target!(|input: &[u8]| {
    let path = Place::get().put("in.dcm", input);
    let source = labels::source();
    let read = |path: &std::path::Path| rtstruct::read(path, &source, &Task::silent());
    let Some((map, _)) = fenced(input.len(), || labels::given(read(&path))) else { return };
    fenced(ANY, || {
        for holes in [Holes::Keyhole, Holes::Xor] {
            let out = Place::get().path("out.dcm");
            let options = RtOptions { holes, ..RtOptions::default() };
            if labels::is_written(rtstruct::write(&map, &options, &out, &Task::silent())) {
                labels::same(&map, &out, read(&out).map(|(map, _)| map));
            }
        }
        labels::through_seg(&map);
    });
});
