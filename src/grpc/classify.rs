//! Whether a call's end speaks of the endpoint.

use std::{fmt, sync::Arc};

use crate::grpc::Code;

/// What the end of a call says about the endpoint that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work; an application error counts as work done.
    Success,
    /// The endpoint could not do its work: UNAVAILABLE, or the transport failed.
    Failure,
    /// Nobody knows: the caller gave up, or the deadline passed, before the endpoint had its say.
    Cancelled,
}

/// Decides the [`Outcome`] of calls by their gRPC status.
///
/// Asked once for each call that ended with a status; cheap to clone. The [default](Self::default) looks for the
/// server that cannot work, [`any_non_ok`](Self::any_non_ok) for the service that does not.
///
/// ```
/// use grpc_balance::grpc::{Classify, Code, Outcome};
///
/// assert_eq!(Classify::default().outcome(Code::Internal), Outcome::Success);
/// assert_eq!(Classify::any_non_ok().outcome(Code::Internal), Outcome::Failure);
///
/// let strict = Classify::new(|code| match code {
///     Code::Unavailable | Code::Internal | Code::DataLoss => Outcome::Failure,
///     code => Classify::default().outcome(code),
/// });
/// assert_eq!(strict.outcome(Code::Internal), Outcome::Failure);
/// ```
#[derive(Clone, Default)]
pub struct Classify(Rule);

// The two usual rules are matched on rather than boxed: a call then costs a comparison, not an indirect jump.
#[derive(Clone, Default)]
enum Rule {
    #[default]
    Unavailable,
    AnyNonOk,
    Custom(Arc<dyn Fn(Code) -> Outcome + Send + Sync>),
}

impl Classify {
    /// The default: UNAVAILABLE is a failure, and an application's own errors are successes, since a NOT_FOUND says
    /// nothing about the pod.
    ///
    /// CANCELLED and DEADLINE_EXCEEDED are [`Outcome::Cancelled`], whoever reports them. A server that says them
    /// repeats what its caller decided, and which of the two was too slow or too hasty cannot be told from here.
    #[must_use]
    pub fn unavailable() -> Self {
        Self(Rule::Unavailable)
    }

    /// Every status but OK is a failure, as gRPC's outlier detection counts (gRFC A50).
    ///
    /// For services that never use a status to say an ordinary thing.
    #[must_use]
    pub fn any_non_ok() -> Self {
        Self(Rule::AnyNonOk)
    }

    /// A rule of one's own.
    pub fn new(classify: impl Fn(Code) -> Outcome + Send + Sync + 'static) -> Self {
        Self(Rule::Custom(Arc::new(classify)))
    }

    /// The outcome of a call that ended with this status.
    #[must_use]
    pub fn outcome(&self, code: Code) -> Outcome {
        match (&self.0, code) {
            (Rule::Custom(classify), code) => classify(code),
            (_, Code::Ok) => Outcome::Success,
            (Rule::AnyNonOk, _) | (Rule::Unavailable, Code::Unavailable) => Outcome::Failure,
            (Rule::Unavailable, Code::Cancelled | Code::DeadlineExceeded) => Outcome::Cancelled,
            (Rule::Unavailable, _) => Outcome::Success,
        }
    }
}

impl fmt::Debug for Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Rule::Unavailable => "Classify::unavailable",
            Rule::AnyNonOk => "Classify::any_non_ok",
            Rule::Custom(_) => "Classify::new",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_only_unavailable_speaks_against_an_endpoint() {
        for code in Code::ALL {
            let expected = match code {
                Code::Unavailable => Outcome::Failure,
                Code::Cancelled | Code::DeadlineExceeded => Outcome::Cancelled,
                _ => Outcome::Success,
            };
            assert_eq!(Classify::default().outcome(code), expected, "{code}");
            assert_eq!(Classify::unavailable().outcome(code), expected, "{code}");
        }
    }

    #[test]
    fn any_non_ok_takes_all_errors_for_failures() {
        for code in Code::ALL {
            let failed = Classify::any_non_ok().outcome(code) == Outcome::Failure;
            assert_eq!(failed, code != Code::Ok, "{code}");
        }
    }

    #[test]
    fn a_rule_of_ones_own_is_asked_even_about_ok() {
        let suspicious = Classify::new(|_| Outcome::Failure);
        assert_eq!(suspicious.outcome(Code::Ok), Outcome::Failure);
    }
}
