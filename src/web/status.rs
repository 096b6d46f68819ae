//! What went wrong, as a status that a browser can read.

use std::{error::Error as StdError, io};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    error::Error,
    grpc::{Code, STATUS_HEADER, code_of_reset, message},
};

const DETAILS_HEADER: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A status in trailers.
pub(super) fn trailers(code: Code, text: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS_HEADER, HeaderValue::from(code.number()));
    trailers.insert(message::HEADER, message::encode(text));
    trailers
}

/// Takes the status out of headers.
pub(super) fn take(headers: &mut HeaderMap) -> HeaderMap {
    let mut status = HeaderMap::new();
    for name in [STATUS_HEADER, message::HEADER, DETAILS_HEADER] {
        if let Some(value) = headers.remove(&name) {
            status.insert(name, value);
        }
    }
    status
}

/// The status of a body that failed: that of our own errors, else what the transport's mean, else UNKNOWN.
pub(super) fn of_error(error: &(dyn StdError + 'static)) -> (Code, String) {
    if let Some(error) = Error::find_in(error) {
        return (error.code(), error.report().to_string());
    }
    let mut code = Code::Unknown;
    let mut link = Some(error);
    while let Some(cause) = link {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            code = h2.reason().map_or(Code::Unavailable, |reason| code_of_reset(reason.into()));
            break;
        }
        if cause.is::<io::Error>() {
            code = Code::Unavailable;
        }
        link = cause.source();
    }
    (code, format!("the response broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    #[derive(Debug)]
    struct Wrapped(h2::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_says_its_own_code_the_transports_or_unknown() {
        let ours = Error::new(Code::DataLoss, Phase::Stream, "half is missing");
        let reset: h2::Error = h2::Reason::ENHANCE_YOUR_CALM.into();
        let gone = io::Error::from(io::ErrorKind::ConnectionReset);
        let wrapped = Wrapped(h2::Reason::CANCEL.into());
        assert_eq!(of_error(&ours), (Code::DataLoss, "stream: half is missing".to_owned()));
        assert_eq!(of_error(&reset).0, Code::ResourceExhausted);
        assert_eq!(of_error(&gone).0, Code::Unavailable);
        assert_eq!(of_error(&wrapped).0, Code::Cancelled);
        assert_eq!(of_error(&std::fmt::Error).0, Code::Unknown);
    }
}
