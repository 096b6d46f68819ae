//! How a record becomes a line.

use crate::access_log::Record;

/// Writes a record as text. It runs on the log's own thread.
///
/// Closures of the same form are formats; [`Line`](crate::access_log::Line) and [`Json`](crate::access_log::Json) are
/// those that are there.
///
/// ```
/// use grpc_balance::access_log::{AccessLogLayer, Record};
///
/// let log = AccessLogLayer::builder()
///     .format(|record: &Record, line: &mut String| {
///         line.push_str(record.path());
///         line.push_str(record.grpc_status().map_or(" -", |_| " gRPC"));
///     })
///     .stdout();
/// ```
pub trait Format: Send + 'static {
    /// Appends the record to the line, without a line break at its end.
    fn format(&self, record: &Record, line: &mut String);
}

impl<F: Fn(&Record, &mut String) + Send + 'static> Format for F {
    fn format(&self, record: &Record, line: &mut String) {
        self(record, line);
    }
}
