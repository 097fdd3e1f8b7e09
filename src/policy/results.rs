//! Authentication-Results (RFC 8601): what was found out, for the reader's own programs.

use super::signature::{SignatureEvidence, Verdict};

/// The field, folded, with its CRLF. Only what was parsed stands in it: names of domains and selectors, and our own words;
/// nothing of a stranger's text can end a line or start a property.
pub fn authentication_results(hostname: &str, signatures: &[SignatureEvidence]) -> String {
    let mut field = format!("Authentication-Results: {}", token(hostname));
    if signatures.is_empty() {
        field.push_str("; dkim=none");
    }
    for signature in signatures {
        let (result, reason) = result(&signature.verdict);
        field.push_str(&format!(";\r\n dkim={result}"));
        if let Some(reason) = reason {
            field.push_str(&format!(" reason=\"{reason}\""));
        }
        field.push_str(&format!(
            "\r\n header.d={} header.s={} header.a={}",
            token(signature.domain.as_str()),
            token(&signature.selector),
            token(&signature.algorithm),
        ));
    }
    field.push_str("\r\n");
    field
}

/// The result of RFC 8601 section 2.7.1, and a reason in our words.
fn result(verdict: &Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::BrokenBody => ("fail", Some("body hash does not match")),
        Verdict::BrokenSignature => ("fail", Some("signature does not match")),
        Verdict::NoKey => ("permerror", Some("no key")),
        Verdict::Revoked => ("permerror", Some("key revoked")),
        Verdict::Testing => ("neutral", Some("key in testing mode")),
        Verdict::UnusableKey(_) => ("permerror", Some("key unusable")),
        Verdict::Unsupported(_) => ("neutral", Some("form not supported")),
        Verdict::Expired => ("neutral", Some("expired")),
        Verdict::Premature => ("neutral", Some("signed in the future")),
        Verdict::TempFault(_) => ("temperror", Some("key look-up failed")),
    }
}

fn token(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
        .take(253)
        .collect();
    if kept.is_empty() { "unknown".into() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Domain;

    fn evidence(selector: &str, verdict: Verdict) -> SignatureEvidence {
        SignatureEvidence {
            domain: Domain::parse("example.net").unwrap(),
            selector: selector.into(),
            algorithm: "rsa-sha256".into(),
            has_length: false,
            time: None,
            expires: None,
            uncovered: None,
            covers_seal: false,
            rsa_bits: Some(2048),
            mark: String::new(),
            judged_at: 0,
            verdict,
        }
    }

    #[test]
    fn one_result_per_signature() {
        let text = authentication_results(
            "mx.example.org",
            &[evidence("a", Verdict::Pass), evidence("b", Verdict::BrokenBody)],
        );
        assert_eq!(
            text,
            "Authentication-Results: mx.example.org;\r\n dkim=pass\r\n header.d=example.net header.s=a \
             header.a=rsa-sha256;\r\n dkim=fail reason=\"body hash does not match\"\r\n header.d=example.net \
             header.s=b header.a=rsa-sha256\r\n"
        );
        assert_eq!(authentication_results("mx", &[]), "Authentication-Results: mx; dkim=none\r\n");
    }

    #[test]
    fn a_strangers_text_adds_nothing() {
        let mut hostile =
            evidence("a; dkim=pass\r\nX-Injected: 1", Verdict::UnusableKey("\"\r\nX: 1; spf=pass".into()));
        hostile.algorithm = "rsa-sha1; spf=pass (x".into();
        let text = authentication_results("mx", &[hostile]);
        assert!(!text.contains("spf=") && !text.contains("X:") && !text.contains("dkim=pass"), "{text}");
        assert_eq!(text.matches(';').count(), 1);
        assert!(text.lines().skip(1).all(|line| line.starts_with(' ')));
    }
}
