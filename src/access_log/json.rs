//! The same as JSON.

use std::fmt::Display;

use crate::{
    access_log::{Format, Record},
    json::quoted,
};

/// One JSON object per line. What there is none of is `null`; bytes that are not UTF-8 become U+FFFD.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Json;

impl Format for Json {
    fn format(&self, record: &Record, line: &mut String) {
        let header = |value: Option<&[u8]>| text(value.map(String::from_utf8_lossy));
        let bytes = |value: Option<&'_ http::HeaderValue>| header(value.map(http::HeaderValue::as_bytes));
        let fields = [
            ("start", quoted(record.started_at())),
            ("method", quoted(record.method())),
            ("path", quoted(record.path())),
            ("protocol", quoted(record.protocol())),
            ("status", number(record.status().map(|status| status.as_u16()))),
            ("flags", text(record.flags())),
            ("bytes_received", record.bytes_received().to_string()),
            ("bytes_sent", record.bytes_sent().to_string()),
            ("duration_ms", record.duration().as_millis().to_string()),
            ("upstream_ms", number(record.upstream_duration().map(|took| took.as_millis()))),
            ("x_forwarded_for", bytes(record.forwarded_for())),
            ("user_agent", bytes(record.user_agent())),
            ("request_id", bytes(record.request_id())),
            ("authority", header(record.authority())),
            ("upstream", text(record.endpoint())),
            ("grpc_status", number(record.grpc_status().map(|code| code.number()))),
            ("attempts", record.attempts().to_string()),
            ("phase", text(record.phase())),
        ];
        for (i, (name, value)) in fields.into_iter().enumerate() {
            line.push(if i == 0 { '{' } else { ',' });
            line.extend(["\"", name, "\":", &value]);
        }
        line.push('}');
    }
}

fn text(value: Option<impl Display>) -> String {
    value.map_or_else(|| "null".to_owned(), quoted)
}

fn number(value: Option<impl Display>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}
