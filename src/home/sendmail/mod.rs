//! later
pub mod arguments;
