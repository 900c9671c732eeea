#![no_main]
//! DICOM segmentations, on their own planes and on an image. What is read is written in both ways and read again.

use formats::Task;
use formats::dicom::seg;
use insula_fuzz::fence::ANY;
use insula_fuzz::{Place, fenced, fuzz_target, labels};

/// A few stored planes may mean a large volume: that much is allowed to any segmentation, in units of the memory rule.
const SPARSE: usize = (1 << 30) / 4;

fuzz_target!(|input: &[u8]| {
    let path = Place::get().put("in.dcm", input);
    let source = labels::source();
    let (own, on_source) = fenced(input.len() + SPARSE, || {
        let own = labels::given(seg::read(&path, None, &Task::silent()));
        (own, labels::given(seg::read(&path, Some(&source), &Task::silent())))
    });
    fenced(ANY, || {
        for (map, _) in [own, on_source].iter().flatten() {
            assert_eq!(map.labels.shape(), map.grid.shape_kji());
            // Writing and comparing go over every voxel.
            if map.labels.len() <= 1 << 20 {
                labels::through_seg(map);
            }
        }
    });
});
