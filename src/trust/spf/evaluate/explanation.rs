//! What a domain says to a fail: the text that `exp=` leads to (RFC 7208 section 6.2).

use super::{Evaluation, presented};
use crate::trust::spf::macros::{DomainSpec, MacroString, Place, fits_dns};
use crate::trust::spf::{Names, one_line, printable};

/// How much of it is kept, in characters.
const EXPLANATION_MAX: usize = 500;

/// A domain-spec of `exp=`, and the domain whose record it is of.
pub(in crate::trust::spf) struct Explanation {
    pub spec: DomainSpec,
    pub domain: String,
}

impl<N: Names> Evaluation<'_, N> {
    /// The text, in one line of ASCII. Whatever is wrong with it, there is none; its questions count towards no limit, since
    /// they come once, and after the result.
    pub async fn explain(&mut self, from: Option<Explanation>) -> Option<String> {
        let Explanation { spec, domain } = from?;
        let validated = self.validated(spec.wants_validated(), &domain).await;
        let name = spec.expand(&self.values(&domain, &validated));
        if !fits_dns(&name) {
            return None;
        }
        let texts = self.names.txt(&presented(&name)).await.ok()?;
        let [text] = texts.as_slice() else { return None };
        let text = std::str::from_utf8(text).ok()?;
        let words = MacroString::parse(text, Place::Explanation).ok()?;
        let validated = self.validated(words.wants_validated(), &domain).await;
        let words = words.expand(&self.values(&domain, &validated));
        self.step(format!("{}: explained by {}", printable(&domain), printable(&name)));
        Some(one_line(&words, EXPLANATION_MAX)).filter(|words| !words.trim().is_empty())
    }
}
