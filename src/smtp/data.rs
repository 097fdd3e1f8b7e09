//! The message after DATA: dots undone and stuffed, line ends strict (RFC 5321 section 2.3.8 and 4.5.2).
