//! What one client may cost: how often, how slowly, how wrongly, and what is said of it in the log.

pub mod notes;
pub mod pace;
pub mod rates;
pub mod table;
pub mod tarpit;
pub mod watch;
