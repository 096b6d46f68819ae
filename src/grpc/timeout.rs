//! The `grpc-timeout` header: how long the caller still waits.
//!
//! On the wire it is one to eight ASCII digits and a unit, one of `H M S m u n`. A balancer reads what its caller
//! allows and sends what is left of it. Rounding down would let the server give up while the client still waits, so
//! [`encode`] rounds up, and it takes the finest unit that fits eight digits, so that it rounds little.
//!
//! ```
//! use std::time::Duration;
//! use grpc_balance::grpc::timeout;
//!
//! let left = timeout::parse("250m")? - Duration::from_micros(1_500);
//! assert_eq!(timeout::encode(left), "248500u");
//!
//! let error = timeout::parse("5s").unwrap_err();
//! assert_eq!(error.to_string(), "grpc-timeout `5s`: unknown unit `s`, expected one of H, M, S, m, u, n");
//! # Ok::<(), timeout::ParseTimeoutError>(())
//! ```

use std::{error::Error, fmt, io::Write, time::Duration};

use http::{HeaderName, HeaderValue};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// The longest timeout that [`parse`] returns: about 292 years, the most that gRPC in other languages can say.
///
/// The format allows 11 000 years. What follows adds it to an instant, and not every clock reaches that far.
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

const MAX_DIGITS: usize = 8;
const MAX_VALUE: u128 = 99_999_999;
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

/// Reads a timeout. Longer ones than [`MAX`] are cut to it.
///
/// PROTOCOL-HTTP2 asks for a positive number; zero is read all the same, as a deadline that has passed.
///
/// # Errors
///
/// If the text is anything but one to eight ASCII digits and a unit. A server answers such a request with HTTP 400;
/// to ignore the header would be to wait for ever.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Duration, ParseTimeoutError> {
    let text = text.as_ref();
    let fail = |kind| Err(ParseTimeoutError { text: abridged(text), kind });
    let Some((&unit, digits)) = text.split_last() else { return fail(Kind::Empty) };
    if unit.is_ascii_digit() {
        return fail(Kind::NoUnit);
    }
    let Some(&(_, nanos)) = UNITS.iter().find(|&&(letter, _)| letter == unit) else {
        return fail(Kind::Unit(unit));
    };
    if digits.len() > MAX_DIGITS {
        return fail(Kind::TooLong);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return fail(Kind::NotANumber);
    }
    let value = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    Ok(value.checked_mul(nanos).map_or(MAX, Duration::from_nanos).min(MAX))
}

/// Writes a timeout in the finest unit that fits eight digits, rounded up.
///
/// More than `99999999H` is written as that.
#[must_use]
#[expect(clippy::expect_used, reason = "digits and a letter are a header value")]
pub fn encode(timeout: Duration) -> HeaderValue {
    let nanos = timeout.as_nanos();
    let (unit, value) = UNITS
        .iter()
        .map(|&(unit, size)| (unit, nanos.div_ceil(u128::from(size))))
        .find(|&(_, value)| value <= MAX_VALUE)
        .unwrap_or((b'H', MAX_VALUE));
    let mut buffer = [0; MAX_DIGITS + 1];
    let mut rest = buffer.as_mut_slice();
    write!(rest, "{}{}", value as u32, char::from(unit)).expect("at most eight digits and a letter");
    let unused = rest.len();
    let (text, _) = buffer.split_at(buffer.len() - unused);
    HeaderValue::from_bytes(text).expect("digits and a letter")
}

/// A `grpc-timeout` that is none. Its message names the value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseTimeoutError {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    NoUnit,
    Unit(u8),
    TooLong,
    NotANumber,
}

impl fmt::Display for ParseTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc-timeout `{}`: ", self.text)?;
        match self.kind {
            Kind::Empty => f.write_str("empty, expected digits and a unit, such as `250m`"),
            Kind::NoUnit => f.write_str("no unit, expected one of H, M, S, m, u, n after the digits"),
            Kind::Unit(unit) => {
                write!(f, "unknown unit `{}`, expected one of H, M, S, m, u, n", unit.escape_ascii())
            }
            Kind::TooLong => write!(f, "expected at most {MAX_DIGITS} digits before the unit"),
            Kind::NotANumber => f.write_str("expected only ASCII digits before the unit"),
        }
    }
}

impl Error for ParseTimeoutError {}

/// The value as it may stand in a log line: printable, and short whatever the peer sent.
fn abridged(text: &[u8]) -> Box<str> {
    const SHOWN: usize = 32;
    match text.get(..SHOWN) {
        Some(start) if text.len() > SHOWN => format!("{}...", start.escape_ascii()).into(),
        _ => text.escape_ascii().to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_unit() {
        for (text, nanos) in [
            ("1n", 1),
            ("1u", 1_000),
            ("1m", 1_000_000),
            ("1S", 1_000_000_000),
            ("1M", 60_000_000_000),
            ("1H", 3_600_000_000_000),
            ("00000007n", 7),
            ("99999999n", 99_999_999),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn reads_zero_as_no_time_left() {
        assert_eq!(parse("0n"), Ok(Duration::ZERO));
        assert_eq!(parse("0H"), Ok(Duration::ZERO));
    }

    #[test]
    fn cuts_giants() {
        assert_eq!(parse("99999999H"), Ok(MAX));
        assert_eq!(parse("99999999M"), Ok(Duration::from_secs(99_999_999 * 60)));
    }

    #[test]
    fn refuses_what_is_malformed_and_names_it() {
        for text in [
            "",
            "1",
            "S",
            "5s",
            "+1S",
            "-1S",
            "1.5S",
            " 1S",
            "1S ",
            "1 S",
            "123456789n",
            "1SS",
            "0x1S",
            "\u{0661}S",
            "1h",
        ] {
            let error = parse(text).expect_err(text).to_string();
            let shown = text.as_bytes().escape_ascii().to_string();
            assert!(error.starts_with(&format!("grpc-timeout `{shown}`: ")), "{error}");
        }
    }

    #[test]
    fn shows_little_of_a_long_value() {
        let error = parse("9".repeat(10_000) + "n").unwrap_err().to_string();
        assert!(error.len() < 120, "{error}");
    }

    #[test]
    fn writes_the_finest_unit_that_fits_rounded_up() {
        for (timeout, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::new(99, 999_999_001), "100000m"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::from_secs(6_000_000_000), "1666667H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(encode(timeout), text, "{timeout:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_no_less_and_hardly_more(nanos in 0..=i64::MAX as u64, shift in 0..63u32) {
            let timeout = Duration::from_nanos(nanos >> shift);
            let read = parse(encode(timeout).as_bytes()).unwrap();
            prop_assert!(read >= timeout);
            // Eight digits with a unit of up to 3 600 of the next finer: off by at most one part in 27 777.
            prop_assert!(read - timeout <= timeout / 27_777 + Duration::from_nanos(1), "{timeout:?} {read:?}");
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse(&text).map_err(|error| error.to_string());
        }

        #[test]
        fn reads_what_the_grammar_allows_and_nothing_else(text in "[0-9+ ]{0,9}[HMSmunsh0]?") {
            let allowed = text.len() >= 2
                && text.len() <= 9
                && text.ends_with(['H', 'M', 'S', 'm', 'u', 'n'])
                && text[..text.len() - 1].bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(parse(&text).is_ok(), allowed);
        }
    }
}
