//! A request body that can be sent again from its start, as long as little of it is gone.

/// A request body that keeps what was pulled from it, up to a limit, so that it can start over.
#[derive(Debug)]
pub struct Replay<B> {
    body: B,
}

impl<B> Replay<B> {
    /// Wraps a body that nothing was pulled from.
    pub fn new(body: B) -> Self {
        Self { body }
    }

    /// The body itself.
    pub fn get_ref(&self) -> &B {
        &self.body
    }
}
