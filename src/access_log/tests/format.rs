use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;
use tower_layer::Layer;

use super::*;

#[tokio::test]
async fn what_a_caller_sends_ends_neither_its_field_nor_the_line() {
    let (log, written) = log();
    once(&log, sent("http://a.example:80/%0a", b"a\"b\\c\td\xff")).await;
    let line = line(&log, &written).await;
    assert!(line.contains(r#" "-" "a\"b\\c\x09d\xff" "-" "a.example:80" "-" "#), "{line}");
    assert!(line.starts_with("\"GET /%0a HTTP/1.1\" 200 - 0 0 "), "{line}");
}

#[tokio::test(start_paused = true)]
async fn json_has_the_same_fields() {
    let written = Written::default();
    let log = AccessLogLayer::builder().json().to(written.clone());
    let service = log.layer(upstream(|| vec![data("abcde"), status("14")]));
    service.oneshot(call()).await.unwrap().into_body().collect().await.unwrap();
    log.flush().await;
    let [text] = &written.lines()[..] else { panic!("one line") };
    let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
    let start = json.as_object_mut().unwrap().remove("start").unwrap();
    assert!(start.as_str().unwrap().ends_with('Z'));
    let expected = serde_json::json!({
        "method": "POST", "path": "/router.Router/Unary?x=1", "protocol": "HTTP/2", "status": 200, "flags": null,
        "bytes_received": 9, "bytes_sent": 5, "duration_ms": 5, "upstream_ms": 5, "x_forwarded_for": null,
        "user_agent": "grpc-go/1.80", "request_id": "40e3", "authority": "lab.local",
        "upstream": "127.0.1.3:50000", "grpc_status": 14, "attempts": 2, "phase": null,
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_closure_is_a_format() {
    let written = Written::default();
    let format = |record: &Record, line: &mut String| {
        *line += &format!("{:?} {:?} {}", record.end(), record.status(), record.path());
    };
    let log = AccessLogLayer::builder().format(format).to(written.clone());
    once(&log, sent("/a", b"x")).await;
    log.flush().await;
    assert_eq!(written.lines(), [format!("Complete {:?} /a", Some(StatusCode::OK))]);
}

proptest! {
    #[test]
    fn whatever_is_sent_is_one_line_and_one_json_object(path in "/[!-~]{0,20}", agent: Vec<u8>) {
        let Ok(agent) = HeaderValue::from_bytes(&agent) else { return Ok(()) };
        let Ok(request) = Request::get(&path).header("user-agent", agent).body(()) else { return Ok(()) };
        let record = Record::of(&request);
        let (mut line, mut json) = (String::new(), String::new());
        Line.format(&record, &mut line);
        Json.format(&record, &mut json);
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        // Five quoted fields and the request line, whose quotes no escape begins.
        let bare = line.replace(r"\\", "").replace(r#"\""#, "");
        prop_assert_eq!(bare.matches('"').count(), 12, "{}", line);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(json["path"].as_str(), Some(record.path()));
    }
}
