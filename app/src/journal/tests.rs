use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use formats::{Affine, Grid, LabelEntry, LabelMap, LabelTable, Meta};
use ndarray::Array3;
use viewer::LayerId;
use viewer::tools::{Brush, LabelEdit, Over, Tip, add_label, stroke};

use super::*;

const SIZE: [usize; 3] = [40, 30, 20];

fn start() -> LabelMap {
    let grid = Grid {
        size_ijk: SIZE,
        world_from_voxel: Affine::scale_shift([1.0, 1.5, 2.0], [-20.0, -20.0, -20.0]),
    };
    let labels =
        Array3::from_shape_fn(
            grid.shape_kji(),
            |(k, j, i)| if (k / 4 + j / 5 + i / 6) % 3 == 0 { 9 } else { 0 },
        );
    let table = LabelTable { entries: vec![LabelEntry::new(9, "Blocks", [200, 100, 50])] };
    let meta = Meta { description: "from a test".to_owned(), ..Meta::default() };
    LabelMap { labels: labels.into_shared(), grid, table, meta }
}

fn about(name: &str) -> About {
    About { name: name.to_owned(), labels: None, image: None }
}

/// The `n`-th of a fixed series of edits of a map, none of them empty.
fn edit(map: &LabelMap, n: usize) -> LabelEdit {
    if n % 10 == 9 {
        let entry = LabelEntry::new(100 + n as u16, format!("Label {n}"), [n as u8; 3]);
        return add_label(&map.labels, &map.table, entry).unwrap();
    }
    let at = [(n * 7 % 40) as f64 - 20.0, (n * 11 % 45) as f64 - 20.0, (n * 3 % 40) as f64 - 20.0];
    let tip = Tip::Ball;
    let brush = Brush { tip, radius_mm: 4.0, label: 10 + n as u16, over: Over::Everything };
    stroke(&map.labels, &map.grid, &brush, &[at], None).unwrap()
}

fn apply(map: &mut LabelMap, edit: &LabelEdit) {
    edit.apply(&mut map.labels, &mut map.table).unwrap();
}

/// The map after the first `n` edits of the series.
fn after(n: usize) -> LabelMap {
    let mut map = start();
    for n in 0..n {
        let edit = edit(&map, n);
        apply(&mut map, &edit);
    }
    map
}

fn assert_same(found: &LabelMap, wanted: &LabelMap) {
    assert!(found.labels == wanted.labels, "voxels differ");
    assert_eq!((&found.table, found.grid, &found.meta), (&wanted.table, wanted.grid, &wanted.meta));
}

/// Journals the first `count` edits and ends as a crash would leave it.
fn crashed(folder: &Path, count: usize) {
    let (journal, layer, mut map) = (Journal::start(folder).unwrap(), LayerId::fresh(), start());
    journal.begin(layer, about("scan"), map.clone());
    for n in 0..count {
        let edit = edit(&map, n);
        apply(&mut map, &edit);
        journal.edit(layer, &edit);
    }
    drop(journal);
}

#[test]
fn edits_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("scan.nii");
    std::fs::write(&image, b"image").unwrap();
    let (journal, layers) = (Journal::start(folder.path()).unwrap(), [LayerId::fresh(), LayerId::fresh()]);
    let mut map = start();
    let what = About { image: Source::of(&image), ..about("scan") };
    journal.begin(layers[0], what.clone(), map.clone());
    journal.begin(layers[1], about("other"), after(3));
    for n in 0..25 {
        let edit = edit(&map, n);
        apply(&mut map, &edit);
        journal.edit(layers[0], &edit);
    }
    // Undone: what was applied is journalled.
    let undo = edit(&map, 25);
    apply(&mut map, &undo);
    journal.edit(layers[0], &undo);
    apply(&mut map, &undo.inverse());
    journal.edit(layers[0], &undo.inverse());
    journal.edit(LayerId::fresh(), &undo);
    journal.flush();
    assert!(pending(folder.path()).is_empty(), "a live journal is nobody else's");
    drop(journal);

    let found = pending(folder.path());
    assert_eq!((found.len(), found[0].problems.len()), (1, 0));
    assert_eq!(found[0].layers[0], PendingLayer { about: what.clone(), edits: 27 });
    let recovered = found[0].recover().unwrap();
    assert!(found[0].recover().is_err() && found[0].discard().is_err(), "taken");
    assert!(pending(folder.path()).is_empty());
    assert_same(&recovered.layers[0].map, &after(25));
    assert_same(&recovered.layers[1].map, &after(3));
    assert!(recovered.layers[0].notices.is_empty());
    assert!(recovered.layers[0].about.image.as_ref().unwrap().is_unchanged());
    drop(recovered);
    assert_eq!(pending(folder.path()).len(), 1, "not done yet");
    found[0].recover().unwrap().done();
    assert!(pending(folder.path()).is_empty());
    assert!(found[0].recover().is_err(), "gone");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the image is left");
}

#[test]
fn what_was_saved_closed_or_discarded_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 2);
    pending(folder.path())[0].discard().unwrap();
    let (journal, layer) = (Journal::start(folder.path()).unwrap(), LayerId::fresh());
    journal.begin(layer, about("scan"), start());
    journal.edit(layer, &edit(&start(), 0));
    journal.forget(layer);
    journal.edit(layer, &edit(&start(), 0));
    drop(journal);
    assert!(pending(folder.path()).is_empty());
    let journal = Journal::start(folder.path()).unwrap();
    journal.begin(layer, about("scan"), start());
    journal.finish();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().unwrap()
}

#[test]
fn a_cut_or_damaged_tail_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 12);
    let found = pending(folder.path()).remove(0);
    let file = only_file(&found.folder);
    let whole = std::fs::read(&file).unwrap();
    let last = edit(&after(11), 11).encode().len() + 9;
    let before = edit(&after(10), 10).encode().len() + 9;
    for cut in [1, 5, last - 1, last, last + 1, last + before - 1, last + before] {
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let kept = 12 - usize::from(cut >= 1) - usize::from(cut > last);
        let recovered = found.recover().unwrap();
        assert_eq!(recovered.layers[0].edits, kept, "{cut}");
        assert_same(&recovered.layers[0].map, &after(kept));
        assert_eq!(recovered.layers[0].notices.is_empty(), cut == last || cut == last + before, "{cut}");
    }
    let mut damaged = whole.clone();
    damaged[whole.len() - last - 3] ^= 0x40;
    std::fs::write(&file, &damaged).unwrap();
    let recovered = found.recover().unwrap();
    assert_same(&recovered.layers[0].map, &after(10));
    assert_eq!(recovered.layers[0].notices.len(), 1);
    drop(recovered);
    std::fs::write(&file, &whole[..40]).unwrap();
    let found = pending(folder.path()).remove(0);
    assert_eq!((found.layers.len(), found.problems.len()), (0, 1));
    assert_eq!(found.recover().unwrap().problems.len(), 1);
}

#[test]
fn two_generations_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, layer, mut map) = (Journal::start(folder.path()).unwrap(), LayerId::fresh(), start());
    for n in 0..20 {
        if n % 5 == 0 {
            journal.begin(layer, about("scan"), map.clone());
        }
        let edit = edit(&map, n);
        apply(&mut map, &edit);
        journal.edit(layer, &edit);
    }
    drop(journal);
    let found = pending(folder.path()).remove(0);
    let mut files: Vec<_> = std::fs::read_dir(&found.folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    assert_same(&found.recover().unwrap().layers[0].map, &after(20));
    // The labels of the newer one are damaged: the older one leads up to them.
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    assert_eq!(pending(folder.path())[0].layers[0].edits, 5);
    let recovered = found.recover().unwrap();
    assert_same(&recovered.layers[0].map, &after(15));
    assert_eq!(recovered.layers[0].notices[0].code, "journal-damaged");
}

#[test]
fn a_failing_disk_is_told_and_the_next_beginning_may_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, layer) = (Journal::start(folder.path()).unwrap(), LayerId::fresh());
    let session = journal.session.folder.clone();
    std::fs::remove_dir(&session).unwrap();
    journal.begin(layer, about("scan"), start());
    journal.edit(layer, &edit(&start(), 0));
    journal.flush();
    assert!(journal.take_problem().unwrap().contains("not kept safe"));
    assert_eq!(journal.take_problem(), None);
    std::fs::create_dir(&session).unwrap();
    journal.record(layer, &edit(&start(), 0), || unreachable!("too soon after the failure"));
    journal.begin(layer, about("scan"), start());
    journal.edit(layer, &edit(&start(), 0));
    drop(journal);
    assert_same(&pending(folder.path())[0].recover().unwrap().layers[0].map, &after(1));
}

const CHILD: &str = "INSULA_TEST_JOURNAL";

/// Edits and says how many edits are certainly on disk, until it is killed.
#[test]
fn child_of_the_kill_test() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let (journal, layer, mut map) = (Journal::start(Path::new(&folder)).unwrap(), LayerId::fresh(), start());
    journal.begin(layer, about("scan"), map.clone());
    for n in 0.. {
        let edit = edit(&map, n);
        apply(&mut map, &edit);
        journal.edit(layer, &edit);
        if n % 16 == 15 {
            journal.flush();
            #[expect(clippy::print_stdout, reason = "the parent reads it")]
            {
                println!("safe {}", n + 1);
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::child_of_the_kill_test", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut safe = 0;
    while safe < 64 {
        let line = lines.next().unwrap().unwrap();
        safe = line.strip_prefix("safe ").map_or(safe, |n| n.parse().unwrap());
    }
    assert!(pending(folder.path()).is_empty(), "its owner lives");
    // SIGKILL on Unix.
    child.kill().unwrap();
    child.wait().unwrap();
    let found = pending(folder.path());
    assert_eq!(found.len(), 1);
    let recovered = found[0].recover().unwrap();
    let layer = &recovered.layers[0];
    assert!(layer.edits >= safe, "{} of {safe}", layer.edits);
    assert_same(&layer.map, &after(layer.edits));
    recovered.done();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn recording_begins_by_itself_and_again_when_due() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, layer, mut map) = (Journal::start(folder.path()).unwrap(), LayerId::fresh(), start());
    let mut begun = 0;
    for n in 0..30 {
        let edit = edit(&map, n);
        apply(&mut map, &edit);
        if n == 10 {
            lock(&journal.state).due.insert(layer);
        }
        if n == 20 {
            journal.forget(layer);
        }
        journal.record(layer, &edit, || {
            begun += 1;
            (about("scan"), map.clone())
        });
    }
    assert_eq!(begun, 3);
    drop(journal);
    let recovered = pending(folder.path())[0].recover().unwrap();
    assert_same(&recovered.layers[0].map, &after(30));
    assert_eq!(recovered.layers[0].edits, 9);
}

/// Whatever single byte is wrong, what is recovered is the labels after some number of edits, or a stated failure.
#[test]
fn any_damaged_byte_gives_a_prefix_or_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path(), 10);
    let found = pending(folder.path()).remove(0);
    let file = only_file(&found.folder);
    let whole = std::fs::read(&file).unwrap();
    let states: Vec<_> = (0..=10).map(after).collect();
    let step = whole.len() / 150 + 1;
    for at in (0..whole.len()).step_by(step) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&file, &damaged).unwrap();
        let recovered = found.recover().unwrap();
        assert_eq!(recovered.layers.len() + recovered.problems.len(), 1);
        for layer in &recovered.layers {
            assert_same(&layer.map, &states[layer.edits]);
            assert_eq!(layer.notices.len(), 1, "byte {at}");
        }
    }
}
