//! What SPF says (RFC 7208): the outcome, and why, in words.

use std::fmt;

/// Which name was asked whether the client may use it (section 2.3 and 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfIdentity {
    /// The domain of MAIL FROM.
    MailFrom,
    /// The name in HELO or EHLO, for letters from `<>`.
    Helo,
}

/// The results of section 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// No record, or no name to ask for.
    None,
    /// The domain says nothing of this client.
    Neutral,
    /// The client may use the name.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// DNS gave no answer.
    TempError,
    /// The record cannot be understood, or asks for too much.
    PermError,
}

impl SpfResult {
    /// The word of RFC 8601 section 2.7.2.
    pub fn word(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was found out about one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfEvidence {
    /// The outcome.
    pub result: SpfResult,
    /// Whose name it is.
    pub identity: SpfIdentity,
    /// The name, an A-label in lower case; where HELO is no domain, what it said, made printable.
    pub domain: String,
    /// What decided: the mechanism that matched and the record it stands in, or what is wrong. Our words, with names from DNS
    /// made printable.
    pub why: String,
    /// What was read and tried on the way, a line each, for `explain`: 201 lines of 200 characters at most, of
    /// visible ASCII.
    pub steps: Vec<String>,
    /// On a fail: what the domain itself says to it (`exp=`, section 6.2), ASCII, one line, bounded. The words of whoever wrote
    /// the record, possibly a stranger: to be shown as such.
    pub explanation: Option<String>,
}

impl SpfEvidence {
    /// Whether the client may use the name.
    pub fn passes(&self) -> bool {
        self.result == SpfResult::Pass
    }
}
