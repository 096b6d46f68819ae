//! The content types of gRPC-Web.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::ACCEPT};

/// How messages are written in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Binary,
    /// In base64.
    Text,
}

/// `application/grpc-web[-text][+suffix]`, whatever parameters follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaType<'a> {
    pub(super) encoding: Encoding,
    /// The message format, `+proto` unless it says otherwise.
    suffix: Option<&'a str>,
}

impl<'a> MediaType<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let essence = text.split(';').next()?.trim();
        let rest = strip(essence, "application/grpc-web")?;
        let (encoding, rest) = match strip(rest, "-text") {
            Some(rest) => (Encoding::Text, rest),
            None => (Encoding::Binary, rest),
        };
        let suffix = match rest.strip_prefix('+') {
            Some(suffix) if !suffix.is_empty() && !suffix.contains([' ', '\t']) => Some(suffix),
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { encoding, suffix })
    }

    /// The same messages in gRPC's own content type.
    pub(super) fn as_grpc(self) -> Option<HeaderValue> {
        match self.suffix {
            None => Some(HeaderValue::from_static("application/grpc")),
            Some("proto") => Some(HeaderValue::from_static("application/grpc+proto")),
            Some(suffix) => HeaderValue::try_from(format!("application/grpc+{suffix}")).ok(),
        }
    }

    /// The content type of a reply in the same message format. It names the format even when the request did not, as
    /// Envoy's replies do.
    pub(super) fn of_reply(self, encoding: Encoding) -> Option<HeaderValue> {
        let suffix = self.suffix.unwrap_or("proto");
        let text: Cow<'static, str> = match (encoding, suffix) {
            (Encoding::Binary, "proto") => "application/grpc-web+proto".into(),
            (Encoding::Text, "proto") => "application/grpc-web-text+proto".into(),
            (Encoding::Binary, suffix) => format!("application/grpc-web+{suffix}").into(),
            (Encoding::Text, suffix) => format!("application/grpc-web-text+{suffix}").into(),
        };
        match text {
            Cow::Borrowed(text) => Some(HeaderValue::from_static(text)),
            Cow::Owned(text) => HeaderValue::try_from(text).ok(),
        }
    }
}

/// How the reply is to be written: as the first gRPC-Web type in `Accept` says, and in binary without one.
pub(super) fn accepted(headers: &HeaderMap) -> Encoding {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(MediaType::parse)
        .map_or(Encoding::Binary, |media| media.encoding)
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_content_type_of_grpc_web_and_says_it_in_grpc() {
        use Encoding::{Binary, Text};
        for (text, encoding, grpc, reply) in [
            ("application/grpc-web", Binary, "application/grpc", "application/grpc-web+proto"),
            ("application/grpc-web+proto", Binary, "application/grpc+proto", "application/grpc-web+proto"),
            ("application/grpc-web+json", Binary, "application/grpc+json", "application/grpc-web+json"),
            ("application/grpc-web; charset=utf-8", Binary, "application/grpc", "application/grpc-web+proto"),
            (
                "application/grpc-web+thrift ;x=y",
                Binary,
                "application/grpc+thrift",
                "application/grpc-web+thrift",
            ),
            ("application/grpc-web-text", Text, "application/grpc", "application/grpc-web-text+proto"),
            (
                "APPLICATION/gRPC-Web-Text+proto;charset=UTF-8",
                Text,
                "application/grpc+proto",
                "application/grpc-web-text+proto",
            ),
            (
                "application/grpc-web-text+json",
                Text,
                "application/grpc+json",
                "application/grpc-web-text+json",
            ),
        ] {
            let media = MediaType::parse(text).expect(text);
            assert_eq!(media.encoding, encoding, "{text}");
            assert_eq!(media.as_grpc().unwrap(), grpc, "{text}");
            assert_eq!(media.of_reply(encoding).unwrap(), reply, "{text}");
        }
    }

    #[test]
    fn leaves_the_neighbours_alone() {
        for text in [
            "",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-webx",
            "application/grpc-web-texts",
            "application/grpc-web+",
            "application/grpc-web-text+",
            "application/grpc-web +proto",
            "text/plain; application/grpc-web",
            "application/json",
        ] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_grpc_web_type_in_accept_decides_and_binary_is_the_default() {
        use Encoding::{Binary, Text};
        for (accept, expected) in [
            (&[] as &[&'static str], Binary),
            (&["*/*"], Binary),
            (&["text/html, */*;q=0.8"], Binary),
            (&["application/grpc-web-text"], Text),
            (&["application/grpc-web-text+proto; charset=utf-8"], Text),
            (&["text/plain,application/grpc-web-text;q=0.9"], Text),
            (&["text/plain", "application/grpc-web-text"], Text),
            (&["application/grpc-web+proto"], Binary),
            (&["application/grpc-web, application/grpc-web-text"], Binary),
            (&["application/grpc-web-text, application/grpc-web"], Text),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(accepted(&headers), expected, "{accept:?}");
        }
    }
}
