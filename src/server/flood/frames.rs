//! Where frames begin and end in the bytes of an HTTP/2 connection (RFC 9113, 4.1).

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const HEAD: usize = 9;
/// The client's connection preface, which goes before its first frame.
const PREFACE: u32 = 24;

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) length: u32,
}

impl Frame {
    fn parse(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, ..] = head;
        Self { kind, flags, length: u32::from_be_bytes([0, a, b, c]) }
    }

    /// A DATA frame that says nothing at all: RFC 9113, 10.5 names it as a way to make work.
    pub(super) fn is_empty_data(self) -> bool {
        self.kind == DATA && self.length == 0 && self.flags & END_STREAM == 0
    }

    fn carries_headers(self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION)
    }
}

/// Finds the frames in one direction of a connection, however the bytes are cut.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    have: usize,
    /// What is left of the payload, or of the preface.
    skip: u32,
    current: Option<Frame>,
    /// Since the first HEADERS frame of a block that has not had its END_HEADERS.
    in_block: bool,
    greeted: bool,
}

impl Frames {
    /// What a client says: a preface, and frames.
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::of_server() }
    }

    /// What a server says: frames.
    pub(super) fn of_server() -> Self {
        Self { head: [0; HEAD], have: 0, skip: 0, current: None, in_block: false, greeted: false }
    }

    /// Takes the next bytes, tells the frames that begin in them, and says whether anything was completed.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) -> bool {
        let mut completed = false;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                bytes = bytes.get(n..).unwrap_or_default();
                self.skip -= u32::try_from(n).unwrap_or(self.skip);
                if self.skip > 0 {
                    break;
                }
                completed |= self.complete();
                continue;
            }
            let Some((first, rest)) = bytes.split_first() else { break };
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            if self.have < HEAD {
                continue;
            }
            self.have = 0;
            let frame = Frame::parse(self.head);
            each(frame);
            self.current = Some(frame);
            self.skip = frame.length;
            if frame.carries_headers() {
                self.in_block = true;
            }
            if self.skip == 0 {
                completed |= self.complete();
            }
        }
        completed
    }

    /// Ends a frame or the preface. Says whether no header block stays open.
    fn complete(&mut self) -> bool {
        let Some(frame) = self.current.take() else { return false };
        self.greeted = true;
        if frame.carries_headers() && frame.flags & END_HEADERS != 0 {
            self.in_block = false;
        }
        !self.in_block
    }

    /// Whether the other side owes the rest of something that nobody should need long for: its first frame, the
    /// head of a frame, or a block of headers. The payload of DATA is not of this kind: it is as slow as the
    /// application.
    pub(super) fn is_owed(&self) -> bool {
        !self.greeted || self.in_block || self.have > 0
    }
}
