//! MTA-STS (RFC 8461): what a policy file and its TXT record say. Pure.

use crate::mail::address::Domain;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The longest that a policy may be kept, in seconds: a year (RFC 8461 section 3.2).
const MAX_AGE: u64 = 31_557_600;
/// The longest id (section 3.1).
const ID_MAX: usize = 32;
/// The longest name of a field (sections 3.1 and 3.2).
const NAME_MAX: usize = 32;

/// What a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Hosts and certificates must be right.
    Enforce,
    /// What is not right is only told.
    Testing,
    /// Nothing.
    None,
}

/// A policy (RFC 8461 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What it asks for.
    pub mode: Mode,
    /// The hosts that it names, `*.` patterns included, in lower case.
    pub mx: Vec<String>,
    /// Seconds that it may be kept.
    pub max_age: u64,
}

/// Why a text is no policy; a phrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// The id that the TXT records of `_mta-sts.DOMAIN` publish; none unless exactly one of them is an MTA-STS record, and
/// a well-formed one (RFC 8461 section 3.1).
pub fn published_id(texts: &[String]) -> Option<&str> {
    let mut records = texts.iter().filter_map(|text| fields_of_record(text));
    match (records.next(), records.next()) {
        (Some(fields), None) => id_of_record(fields),
        _ => None,
    }
}

impl Policy {
    /// Parses a policy file (RFC 8461 section 3.2). Unknown fields are ignored, and all but the first of those that may
    /// stand only once. What may be kept for longer than a year is kept for a year.
    pub fn parse(file: &[u8]) -> Result<Policy, PolicyError> {
        let text = std::str::from_utf8(file).map_err(|_| fault("it is no UTF-8 text"))?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end_matches(BLANK);
            if line.is_empty() {
                continue;
            }
            let field = line.split_once(':').filter(|(name, _)| is_name(name));
            let (name, value) = field.ok_or_else(|| fault(format!("line {number} is no \"name: value\"")))?;
            let value = value.trim_start_matches(BLANK);
            match name {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => mx.push(pattern(value)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(fault("it does not say \"version: STSv1\""));
        }
        let mode = mode_of(mode.unwrap_or_default())?;
        if mx.is_empty() && mode != Mode::None {
            return Err(fault("it names no mx"));
        }
        Ok(Policy { mode, mx, max_age: seconds(max_age.unwrap_or_default())? })
    }

    /// Whether the policy names the host; `*.` stands for exactly one label (RFC 8461 section 4.1).
    pub fn names(&self, host: &Domain) -> bool {
        let parent = host.as_str().split_once('.').map(|(_, parent)| parent);
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => pattern == host.as_str(),
        })
    }
}

const BLANK: [char; 2] = [' ', '\t'];

fn fault(phrase: impl Into<String>) -> PolicyError {
    PolicyError(phrase.into())
}

/// What follows `v=STSv1` and a semicolon; none where a TXT record is something else.
fn fields_of_record(text: &str) -> Option<&str> {
    text.strip_prefix("v=STSv1")?.trim_start_matches(BLANK).strip_prefix(';')
}

fn id_of_record(fields: &str) -> Option<&str> {
    // A semicolon may follow the last field.
    let fields = fields.trim_matches(BLANK);
    let fields = fields.strip_suffix(';').unwrap_or(fields);
    let mut id = None;
    for field in fields.split(';') {
        let (name, value) = field.trim_matches(BLANK).split_once('=')?;
        let well_formed = is_name(name) && !value.is_empty() && value.bytes().all(is_value_octet);
        if !well_formed {
            return None;
        }
        if name == "id" {
            id = id.or(Some(value));
        }
    }
    id.filter(|id| id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn is_value_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b'='
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(inner)
}

fn mode_of(value: &str) -> Result<Mode, PolicyError> {
    match value {
        "enforce" => Ok(Mode::Enforce),
        "testing" => Ok(Mode::Testing),
        "none" => Ok(Mode::None),
        _ => Err(fault("its mode is none of \"enforce\", \"testing\" and \"none\"")),
    }
}

fn pattern(value: &str) -> Result<String, PolicyError> {
    let (star, name) = match value.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", value),
    };
    // The error's words show what stands there harmlessly.
    let name = Domain::parse(name).map_err(|error| fault(format!("its mx {error}")))?;
    Ok(format!("{star}{name}"))
}

fn seconds(value: &str) -> Result<u64, PolicyError> {
    let digits = (1..=10).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    let seconds = value.parse::<u64>().ok().filter(|_| digits);
    Ok(seconds.ok_or_else(|| fault("its max_age is no number of seconds"))?.min(MAX_AGE))
}
