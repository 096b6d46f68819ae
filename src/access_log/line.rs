//! Envoy's line, extended.

use std::fmt::{self, Display, Write};

use crate::access_log::{Format, Record};

/// Envoy's default line with the gRPC status, the attempts and the phase at its end. The default.
///
/// See the [module docs](crate::access_log).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Line;

impl Format for Line {
    fn format(&self, record: &Record, line: &mut String) {
        // Writing to a string does not fail.
        let _ = write(record, line);
    }
}

fn write(record: &Record, line: &mut String) -> fmt::Result {
    write!(
        line,
        "[{}] \"{} {} {}\" {} {} {} {} {} {}",
        record.started_at(),
        record.method(),
        Escaped(Some(record.path().as_bytes()).filter(|path| !path.is_empty())),
        record.protocol(),
        record.status().map_or(0, |status| status.as_u16()),
        OrDash(record.flags()),
        record.bytes_received(),
        record.bytes_sent(),
        record.duration().as_millis(),
        OrDash(record.upstream_duration().map(|took| took.as_millis())),
    )?;
    for value in [record.forwarded_for(), record.user_agent(), record.request_id()] {
        write!(line, " \"{}\"", Escaped(value.map(|value| value.as_bytes())))?;
    }
    write!(
        line,
        " \"{}\" \"{}\" grpc={} attempts={} phase={}",
        Escaped(record.authority()),
        OrDash(record.endpoint()),
        OrDash(record.grpc_status().map(|code| code.number())),
        record.attempts(),
        OrDash(record.phase()),
    )
}

struct OrDash<T>(Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_char('-'),
        }
    }
}

/// Bytes between double quotes: nothing in them may end the field or the line, and `\` begins an escape.
struct Escaped<'a>(Option<&'a [u8]>);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else { return f.write_char('-') };
        for byte in bytes {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}
