//! The picture against closed forms and properties.
