//! A folder in memory for the files of one process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder of this process.
pub struct Place(PathBuf);

impl Place {
    /// The folder; made at the first call.
    pub fn get() -> &'static Self {
        static PLACE: OnceLock<Place> = OnceLock::new();
        PLACE.get_or_init(|| {
            let base = std::env::var_os("INSULA_FUZZ_DIR").map(PathBuf::from).unwrap_or_else(|| {
                let memory = Path::new("/dev/shm");
                if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
            });
            let folder = base.join(format!("insula-fuzz-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder for inputs can be made");
            Place(folder)
        })
    }

    /// A name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file into the folder.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder for inputs can be made");
        }
        std::fs::write(&path, bytes).expect("an input can be written");
        path
    }
}
