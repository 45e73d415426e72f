//! replay-store
