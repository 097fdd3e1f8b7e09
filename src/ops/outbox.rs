//! `outbox list`: the letters that wait at home.

use super::{print, print_json};
use crate::config::Home;
use crate::error::Failure;
use crate::home::outbox;

/// Prints what waits, oldest first.
pub fn list(config: &Home, json: bool) -> Result<(), Failure> {
    let letters = outbox::list(config)?;
    if json {
        return print_json(&letters);
    }
    if letters.is_empty() {
        return print("The outbox is empty\n");
    }
    print(&letters.iter().map(|letter| format!("{letter}\n")).collect::<String>())
}
