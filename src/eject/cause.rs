//! Why an endpoint was ejected.

use std::fmt;

use crate::eject::{Counts, Kind};

/// Why an endpoint was ejected. [`Display`](fmt::Display) says it in words.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Its success rate was too far below that of the others.
    #[non_exhaustive]
    SuccessRate {
        /// Its calls in the interval.
        counts: Counts,
        /// The success rate, from 0 to 1, below which an endpoint was an outlier in this interval. It may be negative.
        limit: f64,
    },
    /// Too many of its calls failed.
    #[non_exhaustive]
    FailurePercentage {
        /// Its calls in the interval.
        counts: Counts,
    },
    /// Too many of its calls failed in a row.
    #[non_exhaustive]
    Consecutive {
        /// How they failed.
        kind: Kind,
        /// How many of them did.
        count: u32,
    },
    /// The call that tried it after an earlier ejection failed.
    Trial,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SuccessRate { counts, limit } => {
                let (rate, limit) = (100.0 * counts.success_rate(), 100.0 * limit);
                let volume = counts.volume();
                write!(f, "success rate {rate:.1} % of {volume} calls, below the limit of {limit:.1} %")
            }
            Self::FailurePercentage { counts } => {
                write!(f, "{} of {} calls failed", counts.failed(), counts.volume())
            }
            Self::Consecutive { kind, count } => {
                let failures = match kind {
                    Kind::GatewayError => "gateway errors",
                    Kind::LocalOrigin => "failures of the transport",
                };
                write!(f, "{count} {failures} in a row")
            }
            Self::Trial => f.write_str("the trial call failed"),
        }
    }
}
