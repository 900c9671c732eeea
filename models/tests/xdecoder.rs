//! X-Decoder from weights to logits: against vectors of the official code (`golden/xdecoder/tiny/README.md` in the shared
//! data; tolerance 1e-4 of a tensor's largest value as recommended there), and against the small networks of
//! `fixtures/xdecoder`, which PyTorch computed.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "xdecoder/common.rs"]
mod common;
#[path = "xdecoder/golden.rs"]
mod golden;
#[path = "xdecoder/pack.rs"]
mod pack;
#[path = "xdecoder/post.rs"]
mod post;
#[path = "xdecoder/small.rs"]
mod small;
#[path = "xdecoder/tokens.rs"]
mod tokens;
