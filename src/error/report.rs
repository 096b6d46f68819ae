//! An error and its causes in one line.

use std::{error::Error as StdError, fmt};

use crate::error::Error;

/// An [`Error`] and its causes in one line of text; see [`Error::report`].
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(&'a Error);

impl<'a> Report<'a> {
    pub(super) fn new(error: &'a Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut next = next_cause(self.0);
        while let Some(cause) = next {
            // Many errors repeat their source in their own text, `std::io::Error` for one.
            let text = match cause.downcast_ref::<Error>() {
                // Where it happened has been said.
                Some(cause) if cause.endpoint().is_some() && cause.endpoint() == self.0.endpoint() => {
                    cause.message().to_owned()
                }
                _ => cause.to_string(),
            };
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            next = next_cause(cause);
        }
        f.write_str(&said)
    }
}

fn next_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<Error>() {
        Some(error) => error.cause().map(|cause| &**cause as _),
        None => error.source(),
    }
}
