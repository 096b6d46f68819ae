//! The status codes of gRPC.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A gRPC status code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(clippy::exhaustive_enums, reason = "gRPC closed the list: an unknown number reads as `Unknown`")]
        pub enum Code {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: [Self; 17] = [$(Self::$variant,)*];

            /// The name in capitals, as it stands in metrics and service configs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The code of a number; a number that gRPC does not define is [`Code::Unknown`].
            #[must_use]
            pub fn from_number(number: u32) -> Self {
                match number { $($number => Self::$variant,)* _ => Self::Unknown }
            }
        }
    };
}

codes! {
    /// The call succeeded.
    Ok = 0, "OK";
    /// The caller gave up.
    Cancelled = 1, "CANCELLED";
    /// An error that says no more about itself.
    Unknown = 2, "UNKNOWN";
    /// The request is wrong whatever the state of the system.
    InvalidArgument = 3, "INVALID_ARGUMENT";
    /// The deadline passed first.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
    /// Something asked for does not exist.
    NotFound = 5, "NOT_FOUND";
    /// Something to be created exists already.
    AlreadyExists = 6, "ALREADY_EXISTS";
    /// The caller may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED";
    /// A quota or a limit is used up.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    /// The call was given up because of a conflict.
    Aborted = 10, "ABORTED";
    /// The call went past the valid range.
    OutOfRange = 11, "OUT_OF_RANGE";
    /// The server does not implement the method.
    Unimplemented = 12, "UNIMPLEMENTED";
    /// An invariant of the system is broken.
    Internal = 13, "INTERNAL";
    /// The service cannot be reached just now.
    Unavailable = 14, "UNAVAILABLE";
    /// Data is lost or corrupted beyond recovery.
    DataLoss = 15, "DATA_LOSS";
    /// The caller is not known.
    Unauthenticated = 16, "UNAUTHENTICATED";
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
