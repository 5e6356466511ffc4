//! Paths that mean one thing, whoever reads them.

use axum::http::Uri;
use kernel::Problem;

/// `/shop`, `/api/shop`: no slash at the end, nothing that would have to be encoded.
pub fn is_prefix(prefix: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    prefix
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(segment))
}

/// Refuses a path that the next server may read as another one, and so as one with other rules: dot
/// segments, empty segments, parameters of segments, a slash or what needs no encoding encoded
/// (RFC 3986 §6.2.2).
pub fn plain(path: &str) -> Result<(), Problem> {
    let ambiguous = |why: &str| Err(Problem::malformed(why));
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.split('/').any(|s| matches!(s, "." | ".."))
        || (!inner.is_empty() && inner.split('/').any(str::is_empty))
        || path == "//"
    {
        return ambiguous("The path has empty or dot segments.");
    }
    if path.contains([';', '\\']) {
        return ambiguous("The path has a character that must be encoded.");
    }
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest.get(at + 1..at + 3);
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            None => return ambiguous("The path is not encoded well."),
            // Some clients encode a tilde; nothing is named with one.
            Some(b) if b.is_ascii_alphanumeric() || b"-._/\\\0".contains(&b) => {
                return ambiguous("The path encodes what must not be.");
            }
            Some(_) => rest = &rest[at + 3..],
        }
    }
    Ok(())
}

/// The target with another prefix; the rest stays.
pub fn rewritten(uri: &Uri, prefix: &str, by: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix)?;
    let path = match (by, rest) {
        ("", "") => "/".to_owned(),
        (by, rest) => format!("{by}{rest}"),
    };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.try_into().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/a%20b/%C3%A9",
            "/~x/%7Ex",
            "/a/...",
            "/a:b@c",
        ] {
            assert!(plain(good).is_ok(), "{good}");
        }
        for bad in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/a/..",
            "/../a",
            "/a/./b",
            "/a/%2e%2e/b",
            "/%2E",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/%61",
            "/a;x/b",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/a%2Db",
        ] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_plain() {
        for good in ["/a", "/a/b-c", "/v1.2/x_y"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in [
            "", "/", "a", "/a/", "//a", "/a/../b", "/a b", "/a%20", "/ä", "/*", "/a?b",
        ] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_taken_away_or_another_put_in_its_place() {
        for (uri, by, to) in [
            ("/shop", "", "/"),
            ("/shop?q=1", "", "/?q=1"),
            ("/shop/a%20b?x&y", "", "/a%20b?x&y"),
            ("/shop/a", "/v2", "/v2/a"),
            ("/shop", "/v2", "/v2"),
            ("http://a/shop/b", "", "http://a/b"),
        ] {
            let uri = uri.parse().unwrap();
            assert_eq!(rewritten(&uri, "/shop", by).unwrap(), to);
        }
    }
}
