//! Base64 as a stream: padding anywhere, chunks cut anywhere.
//!
//! Whoever writes `grpc-web-text` may flush, and pad, whenever it likes: what arrives is a sequence of base64 texts one
//! after the other, cut into chunks by people who know nothing of it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

/// Four characters are three bytes.
const GROUP: usize = 4;

/// Bytes for [`encode`] at once, a multiple of three so that what follows needs no padding before it.
pub(super) const ENCODE_STEP: usize = 48 * 1024;

/// Characters for [`Decoder::decode`] at once.
pub(super) const DECODE_STEP: usize = 64 * 1024;

pub(super) fn encode(bytes: &[u8]) -> Bytes {
    BASE64_STANDARD.encode(bytes).into()
}

/// What is left of a chunk that ended within a group.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    group: [u8; GROUP],
    held: usize,
}

/// It is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl Decoder {
    /// Reads a chunk, and returns the bytes of the groups that it completes.
    pub(super) fn decode(&mut self, chunk: &[u8]) -> Result<Bytes, Invalid> {
        let mut bytes = Vec::with_capacity((self.held + chunk.len()) / GROUP * 3);
        let mut rest = chunk;
        if self.held > 0 {
            rest = self.hold(rest);
            if self.held < GROUP {
                return Ok(Bytes::new());
            }
            append(&self.group, &mut bytes)?;
            self.held = 0;
        }
        let (mut groups, rest) = rest.split_at(rest.len() / GROUP * GROUP);
        while !groups.is_empty() {
            // The engine takes padding for the end, so each call gets what goes up to the next.
            let padding = groups.iter().position(|&byte| byte == b'=').unwrap_or(groups.len());
            let end = (padding / GROUP * GROUP + GROUP).min(groups.len());
            let (text, following) = groups.split_at(end);
            append(text, &mut bytes)?;
            groups = following;
        }
        self.hold(rest);
        Ok(bytes.into())
    }

    /// Whether the text could end here.
    pub(super) fn is_between_groups(&self) -> bool {
        self.held == 0
    }

    /// How many characters wait for the rest of their group.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Fills the group, and returns what did not fit.
    fn hold<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let mut bytes = chunk.iter();
        for (free, &byte) in self.group.iter_mut().skip(self.held).zip(bytes.by_ref()) {
            *free = byte;
            self.held += 1;
        }
        bytes.as_slice()
    }
}

fn append(text: &[u8], bytes: &mut Vec<u8>) -> Result<(), Invalid> {
    BASE64_STANDARD.decode_vec(text, bytes).map_err(|_| Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, Invalid> {
        let mut decoder = Decoder::default();
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend_from_slice(&decoder.decode(chunk)?);
        }
        Ok(decoder.is_between_groups().then_some(bytes))
    }

    #[test]
    fn padding_in_the_middle_is_read_wherever_the_chunks_are_cut() {
        let text = b"AAE=AAEC";
        for cut in 0..=text.len() {
            let (start, end) = text.split_at(cut);
            assert_eq!(decode([start, end]), Ok(Some(vec![0, 1, 0, 1, 2])), "cut at {cut}");
        }
        assert_eq!(decode(text.chunks(1)), Ok(Some(vec![0, 1, 0, 1, 2])), "byte by byte");
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["!AAA", "A=AA", "====", "=AAA", "AA=A", "AAA=====", "AAF=", "AA\r\n", "AA-_", "AAE= AAA"]
        {
            assert_eq!(decode([text.as_bytes()]), Err(Invalid), "{text}");
            assert_eq!(decode(text.as_bytes().chunks(1)), Err(Invalid), "{text} byte by byte");
        }
    }

    #[test]
    fn an_end_within_a_group_is_noticed() {
        for text in ["A", "AA", "AAE", "AAE=A"] {
            assert_eq!(decode([text.as_bytes()]), Ok(None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_any_flushes_and_any_cuts(
            flushed in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in prop::collection::vec(1..9usize, 1..20),
        ) {
            let text = flushed.iter().flat_map(|bytes| encode(bytes)).collect::<Vec<_>>();
            let mut cuts = cuts.into_iter().cycle();
            let mut rest = text.as_slice();
            let chunks = std::iter::from_fn(|| {
                (!rest.is_empty()).then(|| {
                    let (chunk, following) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                    rest = following;
                    chunk
                })
            });
            prop_assert_eq!(decode(chunks.collect::<Vec<_>>()), Ok(Some(flushed.concat())));
        }

        #[test]
        fn no_input_makes_it_panic_and_cuts_never_matter(text in "[AB=+/!]{0,24}", cut in 0..24usize) {
            let (start, end) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(decode([start, end]).ok(), decode([text.as_bytes()]).ok());
        }
    }
}
