//! stub
use super::header::Header;
use crate::error::Result;
use crate::registry::Content;
use crate::task::Task;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
pub fn facts(_h: &Header) -> BTreeMap<String, String> {
    BTreeMap::new()
}
pub fn write(_c: Content<'_>, path: &Path, _n: &OsStr, _t: &Task) -> Result<()> {
    Err(crate::Error::unsupported(path, "writing NIfTI", "nothing yet", ""))
}
