//! The owner's own machine: sendmail, outbox, pull.
