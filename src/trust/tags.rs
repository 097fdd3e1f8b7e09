//! Tag lists of RFC 6376 section 3.2, `a=b; c=d`, read strictly: what two readers could understand differently is an
//! error.

/// One tag. Both parts are without the white space around them; folding inside the value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
    /// Where everything between `=` and the next `;` (or the end) starts in the list.
    pub start: usize,
    /// And where it ends.
    pub end: usize,
}

/// More tags than anybody writes; each new one is compared with all before it.
const TAGS_MAX: usize = 64;

/// A list without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagList<'a>(Vec<Tag<'a>>);

impl<'a> TagList<'a> {
    /// Parses a field's value or a TXT record. A name that comes twice, in whatever case, makes the list invalid (section
    /// 3.2: "Tags with duplicate names MUST NOT occur"): readers disagree on which one counts.
    pub fn parse(list: &'a [u8]) -> Result<TagList<'a>, String> {
        let list = std::str::from_utf8(list).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut tags: Vec<Tag<'a>> = Vec::new();
        let mut start = 0;
        for spec in list.split(';') {
            let end = start + spec.len();
            // Only the last piece may be empty: a list may end in a semicolon.
            if trim(spec).is_empty() && end == list.len() && start > 0 {
                break;
            }
            let (name, value) =
                spec.split_once('=').ok_or_else(|| format!("{:?} is no tag=value", excerpt(trim(spec))))?;
            let tag = Tag { name: trim(name), value: trim(value), start: start + name.len() + 1, end };
            if !is_name(tag.name) {
                return Err(format!("{:?} is no tag name", excerpt(tag.name)));
            }
            if let Some(bad) = value.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
                return Err(format!("the tag {}= holds a control character ({bad:?})", tag.name));
            }
            if tags.iter().any(|other| other.name.eq_ignore_ascii_case(tag.name)) {
                return Err(format!("the tag {}= stands twice", tag.name));
            }
            if tags.len() == TAGS_MAX {
                return Err(format!("it has more than {TAGS_MAX} tags"));
            }
            tags.push(tag);
            start = end + 1;
        }
        Ok(TagList(tags))
    }

    /// The tag of this name.
    pub fn tag(&self, name: &str) -> Option<&Tag<'a>> {
        self.0.iter().find(|tag| tag.name == name)
    }

    /// The value of this tag.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.tag(name).map(|tag| tag.value)
    }

    /// The value of a tag that must be there.
    pub fn need(&self, name: &str) -> Result<&'a str, String> {
        self.get(name).ok_or_else(|| format!("it has no {name}="))
    }

    /// All tags in order.
    pub fn iter(&self) -> impl Iterator<Item = &Tag<'a>> {
        self.0.iter()
    }
}

/// The value without any white space or folding: base64, and lists of names.
pub fn squeezed(value: &str) -> String {
    value.chars().filter(|c| !is_space(*c)).collect()
}

/// An unsigned decimal number of at most twelve digits (section 3.5, `t=` and `x=`).
pub fn number(name: &str, value: &str) -> Result<i64, String> {
    let digits = !value.is_empty() && value.len() <= 12 && value.bytes().all(|octet| octet.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(format!("{name}= is no number: {:?}", excerpt(value))),
    }
}

/// The start of a stranger's text, fit for a reply: ASCII without control characters.
pub fn excerpt(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect()
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_the_value_with_its_white_space() {
        let list = b" v=1; b = ab\r\n cd ; d=x;\r\n";
        let tags = TagList::parse(list).unwrap();
        let b = tags.tag("b").unwrap();
        assert_eq!(&list[b.start..b.end], b" ab\r\n cd ");
        assert_eq!(squeezed(b.value), "abcd");
        assert_eq!(tags.get("d"), Some("x"));
    }

    #[test]
    fn what_readers_could_understand_differently_is_an_error() {
        for list in
            ["v=1; d=a; d=b", "v=1; d=a; D=b", "v=1; nonsense", "v=1;; d=a", "=1", "v=1; 1a=b", "x", ""]
        {
            assert!(TagList::parse(list.as_bytes()).is_err(), "{list:?}");
        }
        assert!(TagList::parse(b"v=1; d=a\0b").is_err());
        let many: String = (0..65).map(|n| format!("a{n}=;")).collect();
        assert!(TagList::parse(many.as_bytes()).is_err());
        assert!(
            number("t", "+5").is_err() && number("t", "1234567890123").is_err() && number("t", "").is_err()
        );
    }
}
