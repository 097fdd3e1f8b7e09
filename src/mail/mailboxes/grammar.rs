//! The grammar of RFC 5322 section 3.4 with RFC 6532's UTF-8, which also tells where each thing stands, so that
//! what rewrites a field can leave everything else as it was.

use crate::mail::address::{is_atext, is_dot_atom};
use std::ops::Range;

/// How deep comments may nest.
const COMMENT_DEPTH: usize = 32;

/// How to take what the grammar does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Refuse it.
    Strict,
    /// Read around it.
    Tolerant,
}

/// Where the grammar was broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub at: usize,
    pub reason: &'static str,
}

/// One mailbox. Spans are byte ranges of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The display name, unquoted.
    pub display: Option<String>,
    /// The local part, unquoted.
    pub local: String,
    /// The local part as written, quotes included.
    pub local_span: Range<usize>,
    /// What stands behind the `@`; nothing when the name is unqualified.
    pub host_span: Option<Range<usize>>,
}

impl Spot {
    /// The address as written.
    pub fn span(&self) -> Range<usize> {
        self.local_span.start..self.host_span.as_ref().map_or(self.local_span.end, |host| host.end)
    }
}

/// What stands where in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub spots: Vec<Spot>,
    /// How many groups there are, empty ones included.
    pub groups: usize,
    /// Display names and names of groups, with their unquoted text.
    pub phrases: Vec<(Range<usize>, String)>,
    /// Outermost comments, with their parentheses.
    pub comments: Vec<Range<usize>>,
    /// Behind these commas a line may be folded.
    pub commas: Vec<usize>,
    /// What could not be read; always empty in the strict manner.
    pub unread: Vec<Range<usize>>,
}

/// Reads a whole list. In the tolerant manner it never fails.
pub(crate) fn read(text: &str, manner: Manner) -> Result<Layout, Fault> {
    let mut reader = Reader { text, at: 0, manner, in_group: false, layout: Layout::default() };
    while reader.entry_or_recover()? {}
    Ok(reader.layout)
}

/// Reads what can be read; the rest is `unread`.
pub(crate) fn read_tolerantly(text: &str) -> Layout {
    read(text, Manner::Tolerant)
        .unwrap_or_else(|_| Layout { unread: std::iter::once(0..text.len()).collect(), ..Layout::default() })
}

/// `text` with each span, in their order, replaced.
pub(crate) fn patched(text: &str, patches: &[(Range<usize>, String)]) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (span, new) in patches {
        out.push_str(&text[at..span.start]);
        out.push_str(new);
        at = span.end;
    }
    out.push_str(&text[at..]);
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    manner: Manner,
    in_group: bool,
    layout: Layout,
}

impl Reader<'_> {
    /// One entry with the separator behind it; false at the end of the text.
    fn entry_or_recover(&mut self) -> Result<bool, Fault> {
        let start = self.at;
        match self.entry() {
            Err(fault) if self.manner == Manner::Tolerant => {
                let behind = &self.text[fault.at..];
                let end = behind.find([',', ';']).map_or(self.text.len(), |found| fault.at + found);
                self.layout.unread.push(start..end);
                self.at = (end + 1).min(self.text.len());
                if self.text[end..].starts_with(';') {
                    self.in_group = false;
                }
                Ok(end < self.text.len())
            }
            other => other,
        }
    }

    fn entry(&mut self) -> Result<bool, Fault> {
        self.cfws()?;
        let tolerant = self.manner == Manner::Tolerant;
        match self.peek() {
            None if tolerant => return Ok(false),
            None => return Err(self.fault("is where a mailbox is missing")),
            Some(',') if tolerant => {
                self.at += 1;
                return Ok(true);
            }
            Some(';') if tolerant || self.group_is_empty() => return self.close_group(),
            Some(_) => {}
        }
        let Some(spot) = self.mailbox_or_group()? else {
            // A group was opened; its members follow.
            return Ok(true);
        };
        self.cfws()?;
        match self.peek() {
            None if self.in_group && !tolerant => Err(self.fault("is where the ; of a group is missing")),
            None => {
                self.layout.spots.push(spot);
                Ok(false)
            }
            Some(',') => {
                self.layout.spots.push(spot);
                self.comma();
                Ok(true)
            }
            Some(';') if self.in_group || tolerant => {
                self.layout.spots.push(spot);
                self.close_group()
            }
            Some(_) => Err(self.fault("stands behind a mailbox, where only a comma may")),
        }
    }

    fn comma(&mut self) {
        self.at += 1;
        self.layout.commas.push(self.at);
    }

    /// Whether nothing but white space and comments stands between the group's colon and here.
    fn group_is_empty(&self) -> bool {
        let members = |colon: usize| {
            self.layout.commas.iter().any(|comma| *comma > colon)
                || self.layout.spots.last().is_some_and(|spot| spot.local_span.start > colon)
        };
        self.in_group && self.layout.phrases.last().is_some_and(|(name, _)| !members(name.end))
    }

    /// Takes the `;` and the comma behind it, if there is one; false at the end of the text.
    fn close_group(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        self.in_group = false;
        self.cfws()?;
        match self.peek() {
            None => Ok(false),
            Some(',') => {
                self.comma();
                Ok(true)
            }
            Some(_) if self.manner == Manner::Tolerant => Ok(true),
            Some(_) => Err(self.fault("stands behind a group, where only a comma may")),
        }
    }

    /// A mailbox, or nothing after the name and colon of a group.
    fn mailbox_or_group(&mut self) -> Result<Option<Spot>, Fault> {
        let start = self.at;
        if self.peek() == Some('<') {
            return self.angle(None).map(Some);
        }
        let first = self.word()?;
        let first_span = start..self.at;
        if self.peek() == Some('@') {
            return self.addr_spec(first, first_span).map(Some);
        }
        let (mut display, mut end) = (first, self.at);
        loop {
            self.cfws()?;
            match self.peek() {
                Some('<') => {
                    self.layout.phrases.push((start..end, display.clone()));
                    return self.angle(Some(display)).map(Some);
                }
                Some(':') if !self.in_group => {
                    self.layout.phrases.push((start..end, display));
                    self.at += 1;
                    self.in_group = true;
                    self.layout.groups += 1;
                    return Ok(None);
                }
                None | Some(',' | ';') if end == first_span.end => {
                    return self.unqualified(display, first_span).map(Some);
                }
                _ => {
                    let word = self.word()?;
                    if !(word.starts_with('.') && end == self.at - word.len()) {
                        display.push(' ');
                    }
                    display.push_str(&word);
                    end = self.at;
                }
            }
        }
    }

    /// `<addr-spec>`, with the obsolete route in the tolerant manner.
    fn angle(&mut self, display: Option<String>) -> Result<Spot, Fault> {
        self.at += 1;
        self.cfws()?;
        if self.peek() == Some('@') && self.manner == Manner::Tolerant {
            self.route()?;
        }
        let start = self.at;
        let local = self.word()?;
        let span = start..self.at;
        let spot = match self.peek() {
            Some('@') => self.addr_spec(local, span)?,
            _ => self.unqualified(local, span)?,
        };
        self.cfws()?;
        if self.peek() != Some('>') {
            return Err(self.fault("stands where an address in <> must end"));
        }
        self.at += 1;
        Ok(Spot { display, ..spot })
    }

    /// `@a,@b:` of RFC 822, which names nobody.
    fn route(&mut self) -> Result<(), Fault> {
        let rest = &self.text[self.at..];
        let end = rest.find([':', '<', '>', '"', '(']).filter(|end| rest[*end..].starts_with(':'));
        self.at += end.ok_or_else(|| self.fault("starts a source route without an end"))? + 1;
        self.cfws()
    }

    /// What follows a local part; we stand at the `@`. White space or comments beside the `@` are obsolete.
    fn addr_spec(&mut self, local: String, local_span: Range<usize>) -> Result<Spot, Fault> {
        self.check_local(&local_span)?;
        self.at += 1;
        let start = self.at;
        let rest = &self.text[start..];
        let length = if rest.starts_with('[') {
            rest.find(']').map_or(0, |end| end + 1)
        } else {
            rest.find(|c| c != '.' && !is_atext(c)).unwrap_or(rest.len())
        };
        if length == 0 {
            return Err(self.fault("stands where a domain must"));
        }
        self.at += length;
        Ok(Spot { display: None, local, local_span, host_span: Some(start..self.at) })
    }

    fn unqualified(&mut self, local: String, local_span: Range<usize>) -> Result<Spot, Fault> {
        if self.manner == Manner::Strict {
            return Err(Fault { at: local_span.start, reason: "is no address: there is no @ in it" });
        }
        self.check_local(&local_span)?;
        Ok(Spot { display: None, local, local_span, host_span: None })
    }

    fn check_local(&self, span: &Range<usize>) -> Result<(), Fault> {
        let written = &self.text[span.clone()];
        match written.starts_with('"') || is_dot_atom(written) {
            true => Ok(()),
            false => Err(Fault { at: span.start, reason: "has a misplaced dot before the @" }),
        }
    }

    /// A quoted string, unquoted, or a run of `atext` and dots.
    fn word(&mut self) -> Result<String, Fault> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let rest = &self.text[self.at..];
        let length = rest.find(|c| c != '.' && !is_atext(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.fault("stands where a name or an address must"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let mut content = String::new();
        self.at += 1;
        loop {
            if self.fold() {
                continue;
            }
            let c = self.quotable("is where a quoted string's end is missing")?;
            match c {
                '"' => return Ok(content),
                '\\' => content.push(self.quotable("is where a quoted string's end is missing")?),
                c => content.push(c),
            }
        }
    }

    /// White space and comments.
    fn cfws(&mut self) -> Result<(), Fault> {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('(') => self.comment()?,
                _ if self.fold() => {}
                Some('\r' | '\n') if matches!(&self.text[self.at..], "\r\n" | "\n") => {
                    self.at = self.text.len()
                }
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        const ENDLESS: &str = "is where a comment's end is missing";
        let start = self.at;
        let mut depth = 0;
        loop {
            if self.fold() {
                continue;
            }
            match self.quotable(ENDLESS)? {
                '(' if depth == COMMENT_DEPTH => return Err(self.fault("stands in too deep a comment")),
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    self.quotable(ENDLESS)?;
                }
                _ => {}
            }
            if depth == 0 {
                self.layout.comments.push(start..self.at);
                return Ok(());
            }
        }
    }

    /// Takes the line break of a fold, if we stand at one; its white space stays.
    fn fold(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let broken = match self.manner {
            Manner::Strict => rest.strip_prefix("\r\n"),
            Manner::Tolerant => rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')),
        };
        match broken {
            Some(next) if next.starts_with([' ', '\t']) => {
                self.at = self.text.len() - next.len();
                true
            }
            _ => false,
        }
    }

    /// Takes a character that may stand within quotes or parentheses: anything but controls, save the tab.
    fn quotable(&mut self, endless: &'static str) -> Result<char, Fault> {
        match self.peek() {
            None => Err(self.fault(endless)),
            Some(c) if c.is_control() && c != '\t' => Err(self.fault("has a control character")),
            Some(c) => {
                self.at += c.len_utf8();
                Ok(c)
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn fault(&self, reason: &'static str) -> Fault {
        Fault { at: self.at, reason }
    }
}
