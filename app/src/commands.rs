//! Each thing a user can do, once: with its label, help, key and when it is available. Menus, the command palette and
//! the keys come from this table.

use egui::{Key, KeyboardShortcut, Modifiers};

use crate::document::{Document, Layout, Pane};
use crate::settings::Settings;
use viewer::Plane;

/// A thing a user can do that needs no further arguments. What needs some (opening a given file, running a given pack)
/// is a method of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Choose files to open.
    Open,
    /// Choose a folder whose images are opened.
    OpenFolder,
    /// Open the bundled sample.
    OpenSample,
    /// Close the active layer.
    CloseLayer,
    /// Close everything.
    CloseAll,
    /// Save the active segmentation (or image) where it came from, or ask where.
    Save,
    /// Ask where to save the active layer.
    SaveAs,
    /// Save surfaces of the active segmentation.
    SaveMesh,
    /// Save the table of the active segmentation.
    SaveTable,
    /// Save a picture of the window.
    SaveScreenshot,
    /// Save a picture of a pane.
    SavePane,
    /// Save turning pictures of the 3-D view.
    SaveTurntable,
    /// Save layers, views and edits as one file.
    SaveSession,
    /// Open such a file.
    OpenSession,
    /// Take what identifies out of the headers of DICOM files.
    Deidentify,
    /// Choose a checkpoint or pack to import.
    ImportPack,
    /// Leave.
    Quit,
    /// Show everything again.
    ResetView,
    /// Overlays on or off.
    ToggleOverlays,
    /// The layer above.
    NextLayer,
    /// The layer below.
    PreviousLayer,
    /// Side of the patient's right.
    ToggleConvention,
    /// Interpolation on or off.
    ToggleInterpolation,
    /// Crosshair on or off.
    ToggleCrosshair,
    /// The original beside the restored image, in the slices.
    ToggleCompare,
    /// Outlines or filled labels.
    ToggleOutline,
    /// Window from the values.
    AutoWindow,
    /// A layout.
    SetLayout(Layout),
    /// The pane under the pointer fills the window, or not.
    Maximise,
    /// One slice towards superior (axial).
    NextSlice,
    /// One slice towards inferior (axial).
    PreviousSlice,
    /// The next frame of a series.
    NextFrame,
    /// The previous frame.
    PreviousFrame,
    /// Run through the frames.
    PlayFrames,
    /// Left panel on or off.
    ToggleLayersPanel,
    /// Right panel on or off.
    ToggleToolsPanel,
    /// Dark or light.
    ToggleTheme,
    /// Everything larger.
    ZoomIn,
    /// Everything smaller.
    ZoomOut,
    /// Run the chosen pack on the active image.
    Segment,
    /// Run the chosen restoring pack on the active image.
    Restore,
    /// Turn to the page where things are found by words.
    Find,
    /// Run the chosen pack on every scan that is opened.
    ToggleSegmentOnOpen,
    /// Stop what is under way, or put the tool down.
    Cancel,
    /// Take back the last edit.
    Undo,
    /// Do it again.
    Redo,
    /// New, empty segmentation.
    NewLabels,
    /// Look at a slice from a standard side in 3-D.
    View3d(Side),
    /// All commands, searched by typing.
    Palette,
    /// Keys and how to change them.
    ShowSettings,
    /// Give the graphics device up and go on with another.
    RestartGraphics,
    /// Versions and licences.
    About,
}

/// A side of the patient to look from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the sides of a patient")]
pub enum Side {
    Anterior,
    Posterior,
    Left,
    Right,
    Superior,
    Inferior,
}

/// The menu a command is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "menu names")]
pub enum Menu {
    File,
    Edit,
    View,
    Models,
    Help,
}

impl Menu {
    /// All menus, from the left.
    pub const ALL: [Self; 5] = [Self::File, Self::Edit, Self::View, Self::Models, Self::Help];

    /// Name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Edit => "Edit",
            Self::View => "View",
            Self::Models => "Models",
            Self::Help => "Help",
        }
    }
}

/// A row of [`ACTIONS`].
pub struct Action {
    /// What is done.
    pub command: Command,
    /// Stable identifier, for key bindings.
    pub id: &'static str,
    /// Label in menus.
    pub label: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Where it is listed.
    pub menu: Menu,
    /// The key it has unless the user chose another.
    pub key: Option<KeyboardShortcut>,
    /// Whether it can be done now.
    pub available: fn(&Document) -> bool,
}

const fn key(modifiers: Modifiers, key: Key) -> Option<KeyboardShortcut> {
    Some(KeyboardShortcut::new(modifiers, key))
}

const NONE: Modifiers = Modifiers::NONE;
const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers =
    Modifiers { alt: false, ctrl: false, shift: true, mac_cmd: false, command: true };

fn always(_: &Document) -> bool {
    true
}
fn something(d: &Document) -> bool {
    !d.is_empty()
}
fn labels(d: &Document) -> bool {
    d.active_labels().is_some()
}
fn undoable(d: &Document) -> bool {
    labels(d) || d.active.is_some_and(|id| d.is_restored_here(id))
}
fn redoable(d: &Document) -> bool {
    labels(d) || d.aside.is_some()
}
fn image(d: &Document) -> bool {
    d.active_image().is_some()
}
fn compared(d: &Document) -> bool {
    d.compared().is_some()
}
fn frames(d: &Document) -> bool {
    d.frames().is_some()
}
fn layers(d: &Document) -> bool {
    d.scene.layers.len() > 1
}

macro_rules! actions {
    ($($menu:ident { $($command:expr, $id:literal, $label:literal, $help:literal, $key:expr, $available:expr;)* })*) => {
        &[$($(Action {
            command: $command, id: $id, label: $label, help: $help, menu: Menu::$menu, key: $key, available: $available,
        }),*),*]
    };
}

use Command as C;

/// Everything a user can do, in the order of menus.
pub static ACTIONS: &[Action] = actions! {
    File {
        C::Open, "open", "Open…", "Open images, volumes and segmentations", key(CTRL, Key::O), always;
        C::OpenFolder, "open-folder", "Open folder…", "Open all images of a folder", key(CTRL_SHIFT, Key::O), always;
        C::OpenSample, "open-sample", "Open the sample", "A synthetic head, made for Insula", None, always;
        C::OpenSession, "open-session", "Open session…", "Layers, views and edits as they were saved", None, always;
        C::Save, "save", "Save", "Save the active layer to its file", key(CTRL, Key::S), something;
        C::SaveAs, "save-as", "Save as…", "Save the active layer under another name or in another format, also as DICOM", key(CTRL_SHIFT, Key::S), something;
        C::SaveMesh, "save-mesh", "Save surfaces…", "Surfaces of the segmentation as STL, OBJ, PLY or GLB", None, labels;
        C::SaveTable, "save-table", "Save label table…", "Names, voxels and volumes as CSV", None, labels;
        C::SaveScreenshot, "save-screenshot", "Save picture…", "The window as a PNG picture", key(NONE, Key::F12), something;
        C::SavePane, "save-pane", "Save picture of a pane…", "The pane that the pointer was over last, as a PNG picture or a DICOM secondary capture", key(Modifiers::SHIFT, Key::F12), something;
        C::SaveTurntable, "save-turntable", "Save turntable…", "The 3-D view turned once round, as numbered PNG pictures", None, something;
        C::SaveSession, "save-session", "Save session…", "Layers, views and edits as one file", None, something;
        C::Deidentify, "deidentify", "De-identify DICOM…", "Headers of DICOM files without what identifies, with a preview", None, always;
        C::CloseLayer, "close-layer", "Close layer", "Close the active layer", key(CTRL, Key::W), something;
        C::CloseAll, "close-all", "Close all", "Close all layers", None, something;
        C::Quit, "quit", "Quit", "Leave Insula", key(CTRL, Key::Q), always;
    }
    Edit {
        C::Undo, "undo", "Undo", "Take back the last edit", key(CTRL, Key::Z), undoable;
        C::Redo, "redo", "Redo", "Do the edit again", key(CTRL_SHIFT, Key::Z), redoable;
        C::NewLabels, "new-labels", "New segmentation", "An empty segmentation on the grid of the image", None, image;
        C::Cancel, "cancel", "Cancel", "Stop what is under way, or put the tool down", key(NONE, Key::Escape), always;
    }
    View {
        C::ResetView, "reset-view", "Reset view", "Whole scene in all panes, cursor in the middle", key(NONE, Key::R), something;
        C::ToggleOverlays, "toggle-overlays", "Overlays on/off", "Show or hide what lies over the image", key(NONE, Key::G), layers;
        C::NextLayer, "next-layer", "Next layer", "Make the layer above active", key(NONE, Key::CloseBracket), layers;
        C::PreviousLayer, "previous-layer", "Previous layer", "Make the layer below active", key(NONE, Key::OpenBracket), layers;
        C::AutoWindow, "auto-window", "Auto window", "Window from the 2nd to the 98th percentile of the values", key(NONE, Key::W), image;
        C::SetLayout(Layout::Quad), "layout-quad", "Layout 2 × 2", "Three slices and 3-D", key(CTRL, Key::Num1), something;
        C::SetLayout(Layout::OneLarge), "layout-one-large", "Layout 1 + 3", "One large pane, three small ones", key(CTRL, Key::Num2), something;
        C::SetLayout(Layout::Single), "layout-single", "Layout single", "One pane", key(CTRL, Key::Num3), something;
        C::SetLayout(Layout::Row), "layout-row", "Layout 3 × 1", "Three slices side by side", key(CTRL, Key::Num4), something;
        C::Maximise, "maximise", "Maximise pane", "The pane under the pointer fills the window, or goes back", key(NONE, Key::M), something;
        C::ToggleConvention, "toggle-convention", "Radiological/neurological", "The patient's right on the left or on the right", key(NONE, Key::F), something;
        C::ToggleInterpolation, "toggle-interpolation", "Interpolation on/off", "Smooth pixels, or voxels as they are", key(NONE, Key::I), something;
        C::ToggleCrosshair, "toggle-crosshair", "Crosshair on/off", "Lines through the cursor", key(NONE, Key::X), something;
        C::ToggleCompare, "toggle-compare", "Before and after", "The original left and the restored image right of a line, in all slices", key(NONE, Key::B), compared;
        C::ToggleOutline, "toggle-outline", "Outlines on/off", "Labels as outlines or filled", key(NONE, Key::O), labels;
        C::NextSlice, "next-slice", "Next slice", "One axial slice towards the head", key(NONE, Key::PageUp), something;
        C::PreviousSlice, "previous-slice", "Previous slice", "One axial slice towards the feet", key(NONE, Key::PageDown), something;
        C::NextFrame, "next-frame", "Next frame", "The next frame of a series", key(NONE, Key::Period), frames;
        C::PreviousFrame, "previous-frame", "Previous frame", "The previous frame of a series", key(NONE, Key::Comma), frames;
        C::PlayFrames, "play-frames", "Play frames", "Run through the frames, or stop", key(NONE, Key::Space), frames;
        C::View3d(Side::Anterior), "view-anterior", "3-D from the front", "Look at the volume from anterior", key(NONE, Key::Num1), something;
        C::View3d(Side::Posterior), "view-posterior", "3-D from behind", "Look at the volume from posterior", key(NONE, Key::Num2), something;
        C::View3d(Side::Left), "view-left", "3-D from the left", "Look at the patient's left side", key(NONE, Key::Num3), something;
        C::View3d(Side::Right), "view-right", "3-D from the right", "Look at the patient's right side", key(NONE, Key::Num4), something;
        C::View3d(Side::Superior), "view-superior", "3-D from above", "Look at the volume from superior", key(NONE, Key::Num5), something;
        C::View3d(Side::Inferior), "view-inferior", "3-D from below", "Look at the volume from inferior", key(NONE, Key::Num6), something;
        C::ToggleLayersPanel, "toggle-layers-panel", "Layers panel", "Show or hide the panel at the left", key(NONE, Key::F3), always;
        C::ToggleToolsPanel, "toggle-tools-panel", "Models and tools panel", "Show or hide the panel at the right", key(NONE, Key::F4), always;
        C::ToggleTheme, "toggle-theme", "Dark/light", "Light on dark or dark on light", None, always;
        C::ZoomIn, "zoom-in", "Larger interface", "Text and controls larger", key(CTRL, Key::Plus), always;
        C::ZoomOut, "zoom-out", "Smaller interface", "Text and controls smaller", key(CTRL, Key::Minus), always;
    }
    Models {
        C::Segment, "segment", "Segment", "Run the chosen pack on the active image", key(CTRL, Key::Enter), image;
        C::Restore, "restore", "Restore the active image", "Run the chosen restoring pack on the active image", None, image;
        C::Find, "find", "Find by words…", "Type what to see and get its mask", key(CTRL, Key::F), always;
        C::ToggleSegmentOnOpen, "segment-on-open", "Segment on open", "Run the chosen pack on every scan that is opened", None, always;
        C::ImportPack, "import-pack", "Import checkpoint or pack…", "Make a pack of weights, or install a pack folder", None, always;
    }
    Help {
        C::Palette, "palette", "Command palette…", "All commands, found by typing", key(CTRL_SHIFT, Key::P), always;
        C::ShowSettings, "settings", "Settings and keys…", "Choices and key bindings", key(CTRL, Key::Comma), always;
        C::RestartGraphics, "restart-graphics", "Restart graphics", "Open the window again on a new graphics device; nothing is lost", None, always;
        C::About, "about", "About Insula…", "Versions, licences, research use", key(NONE, Key::F1), always;
    }
};

/// The row of a command.
///
/// # Panics
/// Never: a test checks that each command used has a row.
#[must_use]
pub fn action(command: Command) -> &'static Action {
    ACTIONS.iter().find(|a| a.command == command).unwrap_or(&ACTIONS[0])
}

/// The key of an action under the user's settings.
#[must_use]
pub fn key_of(action: &Action, settings: &Settings) -> Option<KeyboardShortcut> {
    match settings.keys.get(action.id) {
        Some(text) => parse_key(text),
        None => action.key,
    }
}

/// Reads a key like `"Ctrl+Shift+P"`; none for an empty or unknown text.
#[must_use]
pub fn parse_key(text: &str) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    let mut key = None;
    for part in text.split('+').map(str::trim).filter(|p| !p.is_empty()) {
        match part.to_ascii_lowercase().as_str() {
            "ctrl" | "cmd" | "command" => modifiers.command = true,
            "shift" => modifiers.shift = true,
            "alt" | "option" => modifiers.alt = true,
            _ => key = Key::from_name(part),
        }
    }
    key.map(|key| KeyboardShortcut::new(modifiers, key))
}

/// Writes a key as [`parse_key`] reads it.
#[must_use]
pub fn key_text(shortcut: KeyboardShortcut) -> String {
    let mut text = String::new();
    for (is_held, name) in [
        (shortcut.modifiers.command || shortcut.modifiers.ctrl, "Ctrl+"),
        (shortcut.modifiers.alt, "Alt+"),
        (shortcut.modifiers.shift, "Shift+"),
    ] {
        if is_held {
            text.push_str(name);
        }
    }
    text + shortcut.logical_key.name()
}

/// The slice plane a pane shows.
#[must_use]
pub fn plane_of(pane: Pane) -> Option<Plane> {
    match pane {
        Pane::Slice(plane) => Some(plane),
        Pane::Volume => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_labels_and_keys_are_unique() {
        let (mut ids, mut labels, mut keys) = (HashSet::new(), HashSet::new(), HashSet::new());
        for action in ACTIONS {
            assert!(ids.insert(action.id), "{} twice", action.id);
            assert!(labels.insert(action.label), "{} twice", action.label);
            assert!(action.help.ends_with(char::is_alphanumeric), "{}: one clause, no stop", action.id);
            if let Some(key) = action.key {
                assert!(keys.insert(key_text(key)), "{} has the key of another", action.id);
            }
        }
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        for action in ACTIONS {
            if let Some(key) = action.key {
                assert_eq!(parse_key(&key_text(key)), Some(key), "{}", action.id);
            }
        }
        assert_eq!(parse_key(""), None);
        assert_eq!(parse_key("Ctrl+Nonsense"), None);
    }
}
