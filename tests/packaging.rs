//! The descriptions in `packaging` keep up with the program: its version, and the files it opens.

use formats::FORMATS;
use insula_tests::root;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_version_is_described() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["version"].as_str().unwrap();
    let described = text("packaging/linux/org.insula.Insula.metainfo.xml");
    assert!(described.contains(&format!("<release version=\"{version}\"")), "no release {version} in it");
}

#[test]
fn every_format_is_associated_with_its_names() {
    let linux = text("packaging/linux/org.insula.Insula.mime.xml");
    let windows = text("packaging/windows/insula.wxs");
    let macos = text("packaging/macos/Info.plist");
    // Their types are known to every system.
    let pictures = ["png", "jpg", "jpeg", "tif", "tiff", "ome.tif", "ome.tiff", "bmp", "gif"];
    // Analyze: other types of files have these names on every system.
    let ambiguous = ["hdr", "img", "hdr.gz", "img.gz"];
    for name in FORMATS.iter().flat_map(|f| f.extensions()).filter(|n| !ambiguous.contains(n)) {
        let last = name.rsplit('.').next().unwrap();
        assert!(windows.contains(&format!("Name=\".{last}\"")), "Windows: {name}");
        if pictures.contains(name) {
            continue;
        }
        let patterns = [format!("pattern=\"*.{name}\""), format!("pattern=\"*.{last}\"")];
        let known = if last == "gz" { &patterns[..1] } else { &patterns[..] };
        assert!(known.iter().any(|p| linux.contains(p)), "Linux: {name}");
        assert!(last == "gz" || macos.contains(&format!("<string>{last}</string>")), "macOS: {name}");
    }
}

#[test]
fn types_that_are_described_are_offered() {
    let described = text("packaging/linux/org.insula.Insula.mime.xml");
    let offers = [
        text("packaging/linux/org.insula.Insula.desktop"),
        text("packaging/linux/org.insula.Insula.metainfo.xml"),
    ];
    for part in described.split("<mime-type type=\"").skip(1) {
        let kind = part.split('"').next().unwrap();
        assert!(offers.iter().all(|o| o.contains(kind)), "{kind}");
    }
}
