//! A queued message on its way out.

use crate::queue::EntryId;
use crate::relay::Parts;
use crate::system::threads::blocking;
use std::io::{self, Read};

/// The longest message that is read at once: one turn on another thread instead of one for each piece.
const WHOLE: u64 = 256 << 10;
/// How much of a longer one is read at once.
const BLOCK: usize = 64 << 10;

/// A message.
pub(super) enum Text {
    Whole(Vec<u8>),
    File(tokio::fs::File),
}

/// Opens the message of an entry, of `size` octets.
pub(super) async fn open(parts: &Parts, letter: &EntryId, size: u64) -> io::Result<Text> {
    let (queue, letter) = (parts.queue.clone(), *letter);
    blocking(move || {
        let mut file = queue.open_message(&letter).map_err(io::Error::other)?;
        if size > WHOLE {
            let mut file = tokio::fs::File::from_std(file);
            file.set_max_buf_size(BLOCK);
            return Ok(Text::File(file));
        }
        let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut text)?;
        Ok(Text::Whole(text))
    })
    .await
}
