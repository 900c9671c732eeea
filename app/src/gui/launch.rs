//! Starting the window.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use eframe::egui::{ViewportBuilder, vec2};
use eframe::egui_wgpu::{WgpuSetup, WgpuSetupCreateNew};
use eframe::{NativeOptions, wgpu};

use super::graphics::{Kept, Place, Restart, Shell};
use super::{App, Start};

/// A device that is lost this often within [`LOSS_MEMORY`] is not asked again: the processor draws.
const MOST_LOSSES: usize = 2;
/// Losses longer ago do not count.
const LOSS_MEMORY: Duration = Duration::from_secs(600);

/// Opens the window and returns when it is closed. When its graphics device is lost the window is opened again on
/// another, with all that was in it.
///
/// # Errors
/// When there is no display, or no graphics adapter (not even a software one).
pub fn run(start: Start) -> anyhow::Result<()> {
    let kept = Kept::default();
    let mut start = Some(start);
    let mut losses: Vec<Instant> = Vec::new();
    let mut is_software_chosen = false;
    loop {
        let place = kept.borrow().as_ref().map(|(_, place)| *place).unwrap_or_default();
        let (to_shell, first) = (Rc::clone(&kept), start.take());
        let window = || {
            eframe::run_native(
                "Insula",
                options(place, is_software_chosen),
                Box::new(move |cc| {
                    // Left where it is until there is a device for it.
                    let app = match (to_shell.borrow_mut().take(), first) {
                        (Some((mut app, _)), _) => {
                            app.resume(cc, is_software_chosen);
                            app
                        }
                        (None, start) => App::new(cc, start.unwrap_or_default()),
                    };
                    Ok(Box::new(Shell::new(app, &to_shell)))
                }),
            )
        };
        // A device that is lost while egui draws makes egui-wgpu panic; the shell has kept the state then. A panic for
        // any other reason goes on.
        let ended = catch_unwind(AssertUnwindSafe(window)).unwrap_or_else(|panic| {
            if kept.borrow().as_ref().is_none_or(|(app, _)| app.restart().is_none()) {
                resume_unwind(panic);
            }
            Ok(())
        });
        let why = kept.borrow().as_ref().and_then(|(app, _)| app.restart());
        let Some(why) = why else { return ended.map_err(no_window).context(NO_WINDOW) };
        if matches!(why, Restart::Lost(_)) {
            losses.retain(|at| at.elapsed() < LOSS_MEMORY);
            losses.push(Instant::now());
        }
        if ended.is_err() && is_software_chosen {
            // Nothing draws any more. Dropping the state leaves the journal, which the next start offers.
            return ended.map_err(no_window).context(
                "the graphics device was lost and there is no other, not even a software one; edits are kept and \
                 will be offered at the next start",
            );
        }
        is_software_chosen |= losses.len() > MOST_LOSSES || ended.is_err();
    }
}

const NO_WINDOW: &str = "the window cannot be opened; it needs a display (X11 or Wayland) and a graphics driver \
                         (mesa-vulkan-drivers draws without a GPU). Without a display, use `insula --batch` or \
                         `insula render`";

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_window(error: eframe::Error) -> anyhow::Error {
    // eframe's error is neither `Send` nor `Sync`.
    anyhow::anyhow!("{error}")
}

/// The window's options.
fn options(place: Place, is_software_chosen: bool) -> NativeOptions {
    let mut viewport = ViewportBuilder::default()
        .with_title("Insula")
        .with_app_id("org.insula.Insula")
        .with_icon(icon())
        .with_inner_size(place.size.unwrap_or(vec2(1280.0, 800.0)))
        .with_min_inner_size(vec2(720.0, 480.0))
        .with_maximized(place.is_maximised)
        .with_drag_and_drop(true);
    if let Some(position) = place.position {
        viewport = viewport.with_position(position);
    }
    let mut options = NativeOptions { viewport, persist_window: false, ..NativeOptions::default() };
    options.wgpu_options.wgpu_setup = if is_software_chosen { software_setup() } else { gpu_setup() };
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
    WgpuSetup::CreateNew(asking())
}

/// As [`gpu_setup`], on the processor where it can draw.
fn software_setup() -> WgpuSetup {
    let mut setup = asking();
    setup.native_adapter_selector = Some(Arc::new(|adapters, surface| {
        let fits = |a: &&wgpu::Adapter| surface.is_none_or(|s| a.is_surface_supported(s));
        let is_software = |a: &&wgpu::Adapter| a.get_info().device_type == wgpu::DeviceType::Cpu;
        let software = adapters.iter().filter(fits).find(is_software);
        software.or_else(|| adapters.iter().find(fits)).cloned().ok_or_else(|| "no adapter".to_owned())
    }));
    WgpuSetup::CreateNew(setup)
}

fn asking() -> WgpuSetupCreateNew {
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.power_preference = wgpu::PowerPreference::HighPerformance;
    setup.device_descriptor = Arc::new(viewer::gpu::device::descriptor);
    setup
}
