//! Replies: what we say, spelled with enhanced codes (RFC 3463, 2034), and what others said.

/// A reply, one line of text or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The enhanced status code, `(class, subject, detail)`.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text, without code; lines are separated by `\n`.
    pub text: String,
}

impl Reply {
    /// A reply with an enhanced code; its class is the first digit of `code`.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(((code / 100) as u8, subject, detail)), text: text.into() }
    }

    /// 2xx or 3xx.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }
}
