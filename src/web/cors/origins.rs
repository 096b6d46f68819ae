//! Whose pages may call.

use std::{error::Error, fmt, sync::Arc};

use http::{HeaderValue, Uri};

/// The origins whose pages may read answers: any, or a list.
///
/// An origin is what a browser sends as one: scheme, host, and the port if it is not the scheme's own.
///
/// ```
/// use grpc_balance::web::Origins;
///
/// let origins = Origins::list(["https://app.example", "http://localhost:8080"])?;
/// assert!(origins.allows(&"https://app.example".parse()?));
/// assert!(!origins.allows(&"https://app.example.evil.test".parse()?));
///
/// let error = Origins::list(["https://app.example/login"]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "origin `https://app.example/login`: expected `scheme://host` or `scheme://host:port`, and nothing after it"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Option<Arc<[HeaderValue]>>);

impl Origins {
    /// Any origin. For an API that is public, or that trusts tokens and no cookies.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// These origins; `*` stands for any. An empty list allows none.
    ///
    /// # Errors
    ///
    /// If one of them is not an origin: a browser would never send it, and the list would silently allow nobody.
    pub fn list<I>(origins: I) -> Result<Self, OriginError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut list = Vec::new();
        for origin in origins {
            match origin.as_ref() {
                "*" => return Ok(Self::any()),
                text => list.push(serialized(text).ok_or_else(|| OriginError { text: text.into() })?),
            }
        }
        Ok(Self(Some(list.into())))
    }

    /// Whether a request with this `origin` header is allowed.
    #[must_use]
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        self.0.as_ref().is_none_or(|list| list.contains(origin))
    }
}

/// The origin as a browser writes it: in lower case, without the default port.
fn serialized(text: &str) -> Option<HeaderValue> {
    let text = text.to_ascii_lowercase();
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    // A path, a query or a slash at the end is no part of an origin, nor is a user.
    if text != format!("{scheme}://{authority}") || authority.as_str().contains('@') {
        return None;
    }
    let default = matches!((scheme, authority.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    let origin = match default {
        true => format!("{scheme}://{}", authority.host()),
        false => text,
    };
    HeaderValue::try_from(origin).ok()
}

/// Something that is no origin. Its message names it and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    text: Box<str>,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "origin `{}`: expected `scheme://host` or `scheme://host:port`, and nothing after it",
            self.text.escape_debug()
        )
    }
}

impl Error for OriginError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        for (listed, sent) in [
            ("https://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            let origins = Origins::list([listed]).expect(listed);
            assert!(origins.allows(&HeaderValue::from_static(sent)), "{listed}");
            assert!(!origins.allows(&HeaderValue::from_static("https://other.example")), "{listed}");
        }
    }

    #[test]
    fn what_no_browser_would_send_is_refused_by_name() {
        for text in [
            "",
            "app.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://u@a.example",
            "/",
        ] {
            let error = Origins::list(["https://ok.example", text]).expect_err(text).to_string();
            assert!(error.starts_with(&format!("origin `{text}`: ")), "{error}");
        }
    }

    #[test]
    fn a_star_is_any_and_an_empty_list_is_nobody() {
        let origin = HeaderValue::from_static("null");
        assert_eq!(Origins::list(["https://a.example", "*"]), Ok(Origins::any()));
        assert!(Origins::any().allows(&origin));
        assert!(!Origins::list([] as [&str; 0]).unwrap().allows(&origin));
    }
}
