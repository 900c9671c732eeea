//! Writes the first inputs of every target: small, valid files, made here with the program's own writers or byte by
//! byte where it writes no such file. `seeds FOLDER` makes `FOLDER/<target>/…`.

mod dicom;
mod images;
mod models;

use std::path::PathBuf;

fn main() {
    let corpus = Corpus(PathBuf::from(std::env::args_os().nth(1).expect("usage: seeds FOLDER")));
    dicom::make(&corpus);
    images::make(&corpus);
    models::make(&corpus);
}

/// The folder of all targets' inputs.
struct Corpus(PathBuf);

impl Corpus {
    fn path(&self, target: &str, name: &str) -> PathBuf {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        folder.join(format!("seed-{name}"))
    }

    fn put(&self, target: &str, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(target, name), bytes).expect("the seed can be written");
    }
}
