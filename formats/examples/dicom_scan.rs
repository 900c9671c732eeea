//! Scans folders and says what was found and how long it took: `dicom_scan FOLDER… [--load]`.

use std::path::PathBuf;
use std::time::Instant;

use formats::{Task, dicom};

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> formats::Result<()> {
    let (flags, paths): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    let task = Task::silent();
    let start = Instant::now();
    let tree = dicom::scan(&paths, &task)?;
    println!(
        "scanned {} files in {:.3} s, {} are no DICOM",
        tree.files,
        start.elapsed().as_secs_f64(),
        tree.others
    );
    for notice in &tree.notices {
        println!("  {}", notice.message);
    }
    for series in tree.series() {
        println!("{} {:?}: {} instances", series.modality, series.number, series.records.len());
        for stack in &series.stacks {
            println!("  {} {:?}, axes {:?}", stack.label, stack.grid.spacing_mm(), stack.axes);
            for notice in &stack.notices {
                println!("    {}", notice.message);
            }
            if flags.iter().any(|f| f == "--load") {
                let start = Instant::now();
                let image = dicom::load(stack, &task)?;
                println!("    loaded {} in {:.3} s", image.shape_text(), start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}
