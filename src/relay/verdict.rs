//! A recipient's fate, with the host that decided it.

use crate::mail::dsn::Diagnosis;

/// What came of an attempt for one recipient.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The other side has the letter.
    Delivered {
        /// `mx.example.org [192.0.2.1]: 250 2.0.0 Ok`.
        to: String,
        /// What protected the connection, and who was found there (`TLSv1.3, DANE 3 1 1`; `clear: not offered`).
        tls: String,
        /// Whether the other side took the DSN parameters, and with them the duty to report.
        dsn: bool,
    },
    /// Given up, in its or our words.
    Failed(Diagnosis),
    /// To be tried again.
    Deferred(Diagnosis),
}

impl Verdict {
    /// Nobody's fault that lasts.
    pub(super) fn later(words: String, host: Option<String>) -> Verdict {
        Verdict::Deferred(Diagnosis { status: (4, 4, 7), words, host })
    }
}
