//! A two-level cache for display.
