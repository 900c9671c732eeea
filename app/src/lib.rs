//! The insula program: window, command line and jobs. The only crate that knows everyone.
//!
//! The window ([`gui`]) and the command line ([`cli`]) are two ways of asking for work. The command line makes a
//! [`request::Request`] and has it [performed](request::perform); the window turns gestures into
//! [`commands::Command`]s, which change the [`document::Document`] or start [`jobs`] on threads of their own, so that a
//! frame never waits. [`batch`] is the headless run over many cases.
//!
//! Start reading at [`request`] (work without a window) or [`document`] and [`commands`] (work with one).
//!
//! This is a library only so that the tests can drive the window; nobody else should use it.

pub mod batch;
pub mod cli;
pub mod commands;
mod console;
mod convert;
mod deid;
pub mod dicom;
pub mod document;
mod evaluate;
mod failure;
pub mod gui;
mod info;
mod interrupt;
pub mod jobs;
pub mod journal;
mod mesh;
pub mod open;
mod packs;
mod quicklook;
mod render;
pub mod request;
mod runtime;
mod segment;
pub mod session;
pub mod settings;
pub mod similarity;
pub mod text;
