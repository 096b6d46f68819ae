//! The percent-encoding of `grpc-message`.
//!
//! A status message is Unicode, a header is not: PROTOCOL-HTTP2 escapes every byte outside `0x20..=0x7E`, and `%`.
//!
//! ```
//! use grpc_balance::grpc::message;
//!
//! let value = message::encode("no café: 100% full");
//! assert_eq!(value, "no caf%C3%A9: 100%25 full");
//! assert_eq!(message::decode(&value), "no café: 100% full");
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("grpc-message");

const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Writes a message.
#[must_use]
#[expect(clippy::expect_used, reason = "what is left unescaped is printable ASCII")]
pub fn encode(message: &str) -> HeaderValue {
    let encoded: Cow<'_, str> = utf8_percent_encode(message, ESCAPED).into();
    HeaderValue::from_maybe_shared(Bytes::from(encoded.into_owned())).expect("printable ASCII")
}

/// Reads a message.
///
/// It never fails, as the specification demands: an escape that is none stands for itself, and bytes that are not
/// UTF-8 become U+FFFD. Half a message helps more than none.
#[must_use]
pub fn decode(value: &HeaderValue) -> String {
    percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_no_header_may_hold() {
        assert_eq!(encode("\t\ntest with whitespace\r\n"), "%09%0Atest with whitespace%0D%0A");
        assert_eq!(encode("\x7f~"), "%7F~");
        assert_eq!(encode(""), "");
    }

    #[test]
    fn keeps_bad_escapes_as_they_are() {
        for (value, message) in
            [("%", "%"), ("100%", "100%"), ("%zz%41", "%zzA"), ("%4", "%4"), ("a%FFb", "a\u{FFFD}b")]
        {
            assert_eq!(decode(&HeaderValue::from_static(value)), message);
        }
    }

    proptest! {
        #[test]
        fn every_message_survives(message: String) {
            let value = encode(&message);
            prop_assert!(value.as_bytes().iter().all(|byte| matches!(byte, 0x20..=0x7e)));
            prop_assert_eq!(decode(&value), message);
        }

        #[test]
        fn every_header_value_decodes(bytes: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = decode(&value);
            }
        }
    }
}
