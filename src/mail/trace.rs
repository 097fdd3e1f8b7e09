//! The fields that a server writes on top of a letter, and those it takes off.
