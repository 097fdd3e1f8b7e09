//! The owner's own machine: sendmail, outbox, pull.

mod child;
mod deferred;
#[cfg(test)]
mod fake;
pub mod keyring;
pub mod outbox;
pub mod pull;
pub mod sendmail;
pub mod submit;
