//! The owner's own machine: sendmail, outbox, pull.

#[cfg(test)]
mod fake;
pub mod keyring;
pub mod outbox;
pub mod pull;
pub mod sendmail;
pub mod submit;
