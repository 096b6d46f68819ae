//! How a response, an HTTP status or a reset says its gRPC status.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::grpc::Code;

/// The name of the header or trailer that holds the status code.
pub const STATUS_HEADER: HeaderName = HeaderName::from_static("grpc-status");

/// The gRPC status of a response, given its HTTP status and a header block that may carry `grpc-status`: the trailers,
/// or the headers of a trailers-only response.
///
/// A `grpc-status` wins, whatever the HTTP status; one that is no code of gRPC's reads as [`Code::Unknown`]. Without
/// it an HTTP status other than 200 is translated ([`code_of_http`]). `None` means HTTP 200 without `grpc-status`: in
/// headers that the response goes on, at the end of a stream that the peer broke the protocol, which gRPC calls
/// [`Code::Unknown`]. It is `None` for an informational response, too.
///
/// ```
/// use grpc_balance::grpc::{Code, status_of};
/// use http::{HeaderMap, HeaderValue, StatusCode};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(status_of(StatusCode::OK, &headers), None);
/// assert_eq!(status_of(StatusCode::BAD_GATEWAY, &headers), Some(Code::Unavailable));
/// headers.insert("grpc-status", HeaderValue::from_static("5"));
/// assert_eq!(status_of(StatusCode::BAD_GATEWAY, &headers), Some(Code::NotFound));
/// ```
#[must_use]
pub fn status_of(http: StatusCode, headers: &HeaderMap) -> Option<Code> {
    match headers.get(STATUS_HEADER) {
        Some(value) => Some(code_of_header(value)),
        None if http == StatusCode::OK || http.is_informational() => None,
        None => Some(code_of_http(http)),
    }
}

/// The code that a client reads into an HTTP status that came without `grpc-status`
/// ([http-grpc-status-mapping](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md)).
///
/// For reading only: a gRPC server or proxy answers errors with HTTP 200 and a `grpc-status`.
#[must_use]
pub fn code_of_http(http: StatusCode) -> Code {
    match http.as_u16() {
        // 431 was added after gRPC's first implementations; it is the same kind of complaint as 400.
        400 | 431 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The code for a stream that was reset with this HTTP/2 error code (PROTOCOL-HTTP2, "Errors").
///
/// It says nothing about whether a retry is safe: only REFUSED_STREAM (7) proves that the call was not processed.
#[must_use]
pub fn code_of_reset(reason: u32) -> Code {
    const REFUSED_STREAM: u32 = 0x7;
    const CANCEL: u32 = 0x8;
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    const INADEQUATE_SECURITY: u32 = 0xc;
    match reason {
        REFUSED_STREAM => Code::Unavailable,
        CANCEL => Code::Cancelled,
        ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        INADEQUATE_SECURITY => Code::PermissionDenied,
        // NO_ERROR too: whoever ends a stream must say a status. STREAM_CLOSED has no mapping in the specification,
        // and RFC 9113 has codes that one does not know treated as INTERNAL_ERROR.
        _ => Code::Internal,
    }
}

/// Whether a `content-type` is gRPC's: `application/grpc`, alone or followed by `+` or `;`.
///
/// PROTOCOL-HTTP2 says "begins with", which would let `application/grpc-web` through, another protocol.
#[must_use]
pub fn is_grpc(content_type: &HeaderValue) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    match content_type.as_bytes().split_at_checked(GRPC.len()) {
        Some((kind, rest)) => {
            kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
        }
        None => false,
    }
}

fn code_of_header(value: &HeaderValue) -> Code {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let number = match value.as_bytes() {
        [ones] => digit(ones),
        [tens @ b'1'..=b'9', ones] => digit(tens).zip(digit(ones)).map(|(tens, ones)| tens * 10 + ones),
        _ => None,
    };
    number.map_or(Code::Unknown, Code::from_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_status(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(STATUS_HEADER, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn grpc_status_wins_over_the_http_status() {
        for http in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE] {
            for number in 0..=16 {
                let code = status_of(http, &with_status(&number.to_string()));
                assert_eq!(code, Some(Code::from_number(number)));
                assert_eq!(code.map(Code::number), Some(number));
            }
        }
    }

    #[test]
    fn a_grpc_status_that_is_no_code_is_unknown() {
        for value in ["", "17", "99", "100", "-1", "+1", " 1", "01", "OK", "1.0", "4294967296"] {
            assert_eq!(
                status_of(StatusCode::NOT_FOUND, &with_status(value)),
                Some(Code::Unknown),
                "`{value}`"
            );
        }
    }

    #[test]
    fn http_200_without_grpc_status_is_undecided() {
        assert_eq!(status_of(StatusCode::OK, &HeaderMap::new()), None);
        assert_eq!(status_of(StatusCode::EARLY_HINTS, &HeaderMap::new()), None);
    }

    #[test]
    fn translates_every_http_status_as_the_table_says() {
        for status in 200..1000 {
            let expected = match status {
                200 => None,
                400 => Some(Code::Internal),
                401 => Some(Code::Unauthenticated),
                403 => Some(Code::PermissionDenied),
                404 => Some(Code::Unimplemented),
                429 => Some(Code::Unavailable),
                431 => Some(Code::Internal),
                502 => Some(Code::Unavailable),
                503 => Some(Code::Unavailable),
                504 => Some(Code::Unavailable),
                _ => Some(Code::Unknown),
            };
            let http = StatusCode::from_u16(status).unwrap();
            assert_eq!(status_of(http, &HeaderMap::new()), expected, "{status}");
        }
    }

    #[test]
    fn translates_every_reset_as_the_table_says() {
        use Code::{Cancelled, Internal, PermissionDenied, ResourceExhausted, Unavailable};
        for (reason, code) in [
            (h2::Reason::NO_ERROR, Internal),
            (h2::Reason::PROTOCOL_ERROR, Internal),
            (h2::Reason::INTERNAL_ERROR, Internal),
            (h2::Reason::FLOW_CONTROL_ERROR, Internal),
            (h2::Reason::SETTINGS_TIMEOUT, Internal),
            (h2::Reason::STREAM_CLOSED, Internal),
            (h2::Reason::FRAME_SIZE_ERROR, Internal),
            (h2::Reason::REFUSED_STREAM, Unavailable),
            (h2::Reason::CANCEL, Cancelled),
            (h2::Reason::COMPRESSION_ERROR, Internal),
            (h2::Reason::CONNECT_ERROR, Internal),
            (h2::Reason::ENHANCE_YOUR_CALM, ResourceExhausted),
            (h2::Reason::INADEQUATE_SECURITY, PermissionDenied),
            (h2::Reason::HTTP_1_1_REQUIRED, Internal),
            (h2::Reason::from(0xdead), Internal),
        ] {
            assert_eq!(code_of_reset(reason.into()), code, "{reason:?}");
        }
    }

    #[test]
    fn tells_grpc_from_its_neighbours() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC",
        ] {
            assert!(is_grpc(&HeaderValue::from_static(content_type)), "{content_type}");
        }
        for content_type in [
            "",
            "application/grp",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpcx",
            "application/json",
        ] {
            assert!(!is_grpc(&HeaderValue::from_static(content_type)), "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_grpc_status_reads_as_some_code(bytes: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(STATUS_HEADER, value)]);
                prop_assert!(status_of(StatusCode::OK, &headers).is_some());
            }
        }
    }
}
