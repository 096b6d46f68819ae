//! The answer, as text and as JSON.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;

use crate::{
    health::Summary,
    json::quoted,
    serving::Look,
    shim::{accept::wants_json, layer::Config, source::Report},
};

/// Answers a health check.
pub(super) fn answer<B>(config: &Config, request: &Request<B>) -> Response<Full<Bytes>> {
    let (serving, kind, text) = if config.tells_json() && wants_json(request.headers()) {
        let mut report = config.source().report();
        if config.is_draining() {
            report.serving = false;
            report.cause = Some("draining".into());
        }
        (report.serving, "application/json", Bytes::from(json(&report)))
    } else {
        let serving = !config.is_draining() && config.source().is_serving();
        (serving, "text/plain", Bytes::from_static(word(serving).as_bytes()))
    };
    let length = text.len();
    // A HEAD is told what a GET would get, and gets nothing of it.
    let body = if *request.method() == Method::HEAD { Bytes::new() } else { text };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn word(serving: bool) -> &'static str {
    if serving { "ok" } else { "unavailable" }
}

fn json(report: &Report) -> String {
    let mut out = format!("{{\"status\":\"{}\"", word(report.serving));
    if let Some(cause) = &report.cause {
        out += &format!(",\"cause\":{}", quoted(cause));
    }
    out += ",\"clusters\":[";
    for (i, Look { name, summary, lack }) in report.clusters.iter().enumerate() {
        out += if i > 0 { ",{" } else { "{" };
        out += &format!("\"name\":{}", quoted(name));
        if let Some(lack) = lack {
            out += &format!(",\"cause\":{}", quoted(lack));
        }
        counts(&mut out, summary);
        out.push('}');
    }
    out += "]}";
    out
}

fn counts(out: &mut String, summary: &Summary) {
    for (name, value) in [("resolved", summary.is_resolved()), ("panic", summary.is_in_panic())] {
        *out += &format!(",\"{name}\":{value}");
    }
    for (name, count) in [
        ("total", summary.total_count()),
        ("awaiting", summary.awaiting_count()),
        ("healthy", summary.healthy_count()),
        ("ready", summary.ready_count()),
        ("ejected", summary.ejected_count()),
        ("draining", summary.draining_count()),
    ] {
        *out += &format!(",\"{name}\":{count}");
    }
    *out += ",\"unfit\":[";
    for (i, (endpoint, cause)) in summary.unfit_endpoints().iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        *out += &format!("{comma}{{\"endpoint\":{},\"cause\":{}}}", quoted(endpoint), quoted(cause));
    }
    out.push(']');
}
