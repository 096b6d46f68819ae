//! What the asker wants to read (RFC 9110, section 12.5.1).

use http::{HeaderMap, header::ACCEPT};

/// Whether `Accept` names `application/json`, and does not prefer plain text.
///
/// A wildcard is not a wish: `*/*` is what those send who do not care.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (None, None);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map_or(1000, weight);
        if kind.eq_ignore_ascii_case("application/json") {
            json = json.max(Some(weight));
        } else if kind.eq_ignore_ascii_case("text/plain") {
            text = text.max(Some(weight));
        }
    }
    json.is_some_and(|json| json > 0) && json >= text
}

/// A weight in thousandths. What is none is the least.
fn weight(text: &str) -> u16 {
    match text.trim().parse::<f32>() {
        // A float is cut to the range of the integer.
        Ok(weight) => (weight.clamp(0.0, 1.0) * 1000.0) as u16,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_told_to_those_who_name_it() {
        for (accept, wants) in [
            ("application/json", true),
            ("Application/JSON;charset=utf-8", true),
            ("application/json, text/plain, */*", true),
            ("text/plain;q=0.5, application/json;q=0.9", true),
            ("text/plain, application/json;q=0.9", false),
            ("application/json; q=0", false),
            ("application/json;q=nonsense", false),
            ("application/json;q=NaN", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_json(&headers), wants, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn any_accept_is_read(value in "[ -~]*") {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(&value).unwrap())]);
            let _ = wants_json(&headers);
        }
    }
}
