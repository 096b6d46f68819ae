//! Text as a string of JSON.

use std::fmt::{self, Display, Write};

/// A JSON string (RFC 8259, section 7). It may hold what peers said: nothing of it may end the string.
pub(crate) fn quoted(text: impl Display) -> String {
    struct Escape<'a>(&'a mut String);

    impl Write for Escape<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                match c {
                    '"' | '\\' => self.0.extend(['\\', c]),
                    '\0'..='\x1f' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                    c => self.0.push(c),
                }
            }
            Ok(())
        }
    }

    let mut out = String::from("\"");
    // Writing to a string does not fail, and a `Display` that fails has said what it could.
    let _ = write!(Escape(&mut out), "{text}");
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_as_json(text: String) {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).unwrap(), text);
        }
    }
}
