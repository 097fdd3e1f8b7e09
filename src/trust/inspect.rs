//! A letter's signatures, hashed while its body streams in, judged when it is whole.
