//! Starting the window.

use std::path::PathBuf;

use anyhow::Context;
use eframe::egui::{ViewportBuilder, vec2};
use eframe::egui_wgpu::{WgpuSetup, WgpuSetupCreateNew};
use eframe::{NativeOptions, wgpu};
use std::sync::Arc;

use super::{App, Start};
use crate::settings::Settings;

/// Opens the window with files and returns when it is closed; with `leaves_at_once` it closes itself after the first
/// frame that shows them.
///
/// # Errors
/// When there is no display, or no graphics adapter (not even a software one).
pub fn run(files: Vec<PathBuf>, leaves_at_once: bool) -> anyhow::Result<()> {
    let start = Start {
        files,
        settings: Settings::load(),
        keeps_settings: !leaves_at_once,
        leaves_at_once,
        ..Start::default()
    };
    eframe::run_native("Insula", options(), Box::new(move |cc| Ok(Box::new(App::new(cc, start)))))
        .map_err(|e| anyhow::anyhow!("{e}"))
        .context(
            "the window cannot be opened; it needs a display (X11 or Wayland) and a graphics driver \
             (mesa-vulkan-drivers draws without a GPU). Without a display, use `insula --batch` or `insula render`",
        )
}

/// The window's options.
fn options() -> NativeOptions {
    let mut options = NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title("Insula")
            .with_app_id("org.insula.Insula")
            .with_icon(icon())
            .with_inner_size(vec2(1280.0, 800.0))
            .with_min_inner_size(vec2(720.0, 480.0))
            .with_drag_and_drop(true),
        persist_window: false,
        ..NativeOptions::default()
    };
    options.wgpu_options.wgpu_setup = gpu_setup();
    options
}

/// The program's mark, for window lists.
fn icon() -> eframe::egui::IconData {
    const PNG: &[u8] = include_bytes!("../../../assets/icon/insula-64.png");
    // Decoded from our own file; without it the system shows its default.
    eframe::icon_data::from_png_bytes(PNG).unwrap_or_default()
}

/// The device we ask for: features that keep values exact, and all of the adapter's limits.
#[must_use]
pub fn gpu_setup() -> WgpuSetup {
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.power_preference = wgpu::PowerPreference::HighPerformance;
    setup.device_descriptor = Arc::new(viewer::gpu::device::descriptor);
    WgpuSetup::CreateNew(setup)
}
