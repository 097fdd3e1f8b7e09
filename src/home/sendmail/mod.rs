//! later
pub mod arguments;
pub mod identity;
mod input;
