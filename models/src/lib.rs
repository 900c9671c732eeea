//! Which networks exist and what each one needs.
