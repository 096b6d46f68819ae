//! Our errors as [`tonic::Status`].
//!
//! A generated client turns whatever its transport returns into a `Status`. It asks the chain of sources for one, and
//! calls everything else UNKNOWN. So the errors of this crate's services carry a `Status` with their own code in that
//! chain, the errors of response bodies included, and nobody has to convert anything. The way back is [`error_of`].
//!
//! ```
//! use grpc_balance::error::{Error, Phase};
//! use grpc_balance::grpc::Code;
//!
//! # let error = Error::new(Code::Unavailable, Phase::Pick, "no endpoints");
//! let status = tonic::Status::from(error);
//! assert_eq!(status.code(), tonic::Code::Unavailable);
//! assert_eq!(status.message(), "pick: no endpoints");
//!
//! // What a caller that gets a `Status` can find out:
//! let error = grpc_balance::tonic::error_of(&status).expect("one of ours");
//! assert_eq!(error.phase(), Phase::Pick);
//! assert!(error.is_safe_to_retry());
//! ```

use std::sync::Arc;

use tonic::{Code as TonicCode, Status};

use crate::{error::Error, grpc::Code};

/// The error of this crate behind a status, if there is one: which endpoint, which phase, whether a retry is safe.
///
/// `None` for a status that the server sent.
#[must_use]
pub fn error_of(status: &Status) -> Option<&Error> {
    Error::find_in(status)
}

/// The code is the error's, the message its [report](Error::report), and the source the error itself.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = Self::new(error.code().into(), error.report().to_string());
        status.set_source(Arc::new(error));
        status
    }
}

impl From<Code> for TonicCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::Cancelled => Self::Cancelled,
            Code::Unknown => Self::Unknown,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Aborted => Self::Aborted,
            Code::OutOfRange => Self::OutOfRange,
            Code::Unimplemented => Self::Unimplemented,
            Code::Internal => Self::Internal,
            Code::Unavailable => Self::Unavailable,
            Code::DataLoss => Self::DataLoss,
            Code::Unauthenticated => Self::Unauthenticated,
        }
    }
}

impl From<TonicCode> for Code {
    fn from(code: TonicCode) -> Self {
        u32::try_from(i32::from(code)).map_or(Self::Unknown, Self::from_number)
    }
}

/// Puts a `Status` with the error's code into its chain of sources, where `Status::from_error` finds it.
///
/// For the errors that leave this crate, of calls and of response bodies. tonic then makes the error the source of
/// the status that the caller gets, so that `status.source()` can be downcast.
pub(crate) fn with_status(error: Error) -> Error {
    if error.is_rendered() {
        return error;
    }
    let mut status = Status::new(error.code().into(), error.report().to_string());
    if let Some(cause) = error.cause() {
        status.set_source(cause.clone());
    }
    error.rendered_as(Arc::new(status))
}

#[cfg(test)]
mod tests;
