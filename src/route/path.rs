//! The paths that a route takes.

/// A set of paths. Two that hold the same paths are equal, however they were written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Path {
    /// All of them, and requests without a path.
    Any,
    Exact(Box<str>),
    /// This path and what is below it. It does not end with `/`: then it would be textual.
    Segments(Box<str>),
    /// What begins with this text.
    Text(Box<str>),
}

/// More is more specific.
pub(super) type Rank = (u8, usize, bool);

impl Path {
    pub(super) fn exact(path: &str) -> Result<Self, &'static str> {
        if path == "*" { Ok(Self::Exact(path.into())) } else { Ok(Self::Exact(checked(path)?)) }
    }

    pub(super) fn prefix(path: &str) -> Result<Self, &'static str> {
        let path = checked(path)?;
        Ok(if path.ends_with('/') { Self::Text(path) } else { Self::Segments(path) })
    }

    pub(super) fn text_prefix(path: &str) -> Result<Self, &'static str> {
        checked(path).map(Self::Text)
    }

    pub(super) fn service(name: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a gRPC service as `package.Service`";
        if name.is_empty() || name.contains('/') {
            return Err(EXPECTED);
        }
        checked(&format!("/{name}/")).map(Self::Text).map_err(|_| EXPECTED)
    }

    pub(super) fn method(name: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a gRPC method as `package.Service/Method`";
        match name.split_once('/') {
            Some((service, method)) if !service.is_empty() && !method.is_empty() && !method.contains('/') => {
                checked(&format!("/{name}")).map(Self::Exact).map_err(|_| EXPECTED)
            }
            _ => Err(EXPECTED),
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => **wanted == *path,
            Self::Segments(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Text(prefix) => path.starts_with(&**prefix),
        }
    }

    /// Two more specific sets that hold the same paths together, if there are such.
    pub(super) fn halves(&self) -> Option<[Self; 2]> {
        match self {
            Self::Segments(prefix) => {
                Some([Self::Exact(prefix.clone()), Self::Text(format!("{prefix}/").into())])
            }
            _ => None,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Any => (0, 0, false),
            Self::Text(prefix) => (1, prefix.len(), false),
            Self::Segments(prefix) => (1, prefix.len(), true),
            Self::Exact(_) => (2, 0, false),
        }
    }
}

/// A path as it can stand in a request: nothing else would ever match.
fn checked(path: &str) -> Result<Box<str>, &'static str> {
    if !path.starts_with('/') {
        Err("expected a path that begins with `/`")
    } else if path.contains(['?', '#']) {
        Err("expected a path without query and fragment, which are never compared")
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("expected a path as it is sent, with spaces and what is not ASCII percent-encoded")
    } else {
        Ok(path.into())
    }
}
