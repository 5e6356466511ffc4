//! A line of `[[gateway.routes]]`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use axum::http::{HeaderName, HeaderValue, header};
use kernel::Secret;
use serde::Deserialize;

use super::is_prefix;
use crate::{
    config::Network,
    gateway::{is_below, trace},
};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub name: String,
    pub prefix: String,
    pub upstream: upstream::Settings,
    #[serde(default)]
    pub public: bool,
    #[serde(default)]
    pub require_sign_in: bool,
    pub require_scope: Option<String>,
    pub require_role: Option<String>,
    #[serde(default)]
    pub requests_per_minute: u32,
    pub max_body_bytes: Option<usize>,
    pub timeout_seconds: Option<u64>,
    #[serde(default)]
    pub strip_prefix: bool,
    pub rewrite_prefix: Option<String>,
    #[serde(default)]
    pub set_headers: BTreeMap<String, Value>,
    #[serde(default)]
    pub remove_headers: Vec<String>,
    #[serde(default)]
    pub compress: bool,
    #[serde(default)]
    pub cors: bool,
    #[serde(default)]
    pub pass_authorization: bool,
    #[serde(default)]
    pub allow: Vec<Network>,
    #[serde(default)]
    pub deny: Vec<Network>,
}

/// A header's value, here or in a file: it may be a secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or { file = \"/path\" }")]
pub enum Value {
    Text(Secret),
    File { file: PathBuf },
}

/// What the edge serves itself.
const OWN: &[&str] = &["/health", "/api/openapi.json"];

/// What is wrong with the routes, by name; `modules` are the prefixes that are taken.
pub fn faults(routes: &[Settings], modules: &[&&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (n, route) in routes.iter().enumerate() {
        let mut fault =
            |why: String| faults.push(format!("gateway.routes {:?}: {why}", route.name));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if !(1..=40).contains(&route.name.len()) || !route.name.bytes().all(plain) {
            fault("name: 1 to 40 of a-z, 0-9, - and _ are possible".to_owned());
        }
        if routes[..n].iter().any(|other| other.name == route.name) {
            fault("name: another route has it".to_owned());
        }
        let prefix = &*route.prefix;
        if !is_prefix(prefix) {
            fault(format!("prefix: {prefix:?} is none, such as \"/shop\""));
        }
        if routes[..n].iter().any(|other| other.prefix == prefix) {
            fault(format!("prefix: {prefix:?} is another route's"));
        }
        let taken = modules
            .iter()
            .map(|module| **module)
            .chain(OWN.iter().copied());
        for taken in taken.filter(|taken| is_below(prefix, taken) || is_below(taken, prefix)) {
            fault(format!(
                "prefix: {prefix:?} collides with our own {taken:?}"
            ));
        }
        let guarded =
            route.require_sign_in || route.require_scope.is_some() || route.require_role.is_some();
        if guarded == route.public {
            fault(
                "say who may call it: public = true, or require_sign_in = true, require_scope, \
                 require_role"
                    .to_owned(),
            );
        }
        if route.strip_prefix && route.rewrite_prefix.is_some() {
            fault("strip_prefix and rewrite_prefix: keep one".to_owned());
        }
        if let Some(prefix) = &route.rewrite_prefix
            && !is_prefix(prefix)
        {
            fault(format!(
                "rewrite_prefix: {prefix:?} is none, such as \"/shop\""
            ));
        }
        if route.max_body_bytes.is_some_and(|bytes| bytes > 1 << 30) {
            fault(format!("max_body_bytes: 0 to {} are possible", 1 << 30));
        }
        if let Err(error) = route.headers() {
            fault(format!("{error:#}"));
        }
        for why in route.upstream().check() {
            fault(format!("upstream.{why}"));
        }
    }
    faults
}

impl Settings {
    /// With the route's own time.
    pub fn upstream(&self) -> upstream::Settings {
        let mut settings = self.upstream.clone();
        if let Some(seconds) = self.timeout_seconds {
            settings.read_timeout_seconds = seconds;
            settings.write_timeout_seconds = seconds;
        }
        settings
    }

    /// The headers to set and those to remove.
    #[expect(clippy::type_complexity, reason = "a pair of lists")]
    pub fn headers(&self) -> anyhow::Result<(Vec<(HeaderName, HeaderValue)>, Vec<HeaderName>)> {
        let mut set = Vec::new();
        for (name, value) in &self.set_headers {
            let key = || format!("set_headers.{name}");
            let value = match value {
                Value::Text(text) => text.expose().to_owned(),
                Value::File { file } => {
                    let read = std::fs::read_to_string(file);
                    let text = read.with_context(|| format!("{}: {}", key(), file.display()))?;
                    text.trim_end_matches(['\r', '\n']).to_owned()
                }
            };
            let mut value = HeaderValue::try_from(value).with_context(key)?;
            value.set_sensitive(true);
            set.push((header_name(name).with_context(key)?, value));
        }
        let remove = self.remove_headers.iter().map(|name| {
            let key = || format!("remove_headers: {name:?}");
            header_name(name).with_context(key)
        });
        Ok((set, remove.collect::<anyhow::Result<_>>()?))
    }
}

/// A header that a route may decide on: neither of the connection nor the edge's own.
fn header_name(name: &str) -> anyhow::Result<HeaderName> {
    let name: HeaderName = name.parse()?;
    let framing = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    anyhow::ensure!(
        !framing.contains(&name) && !trace::is_reserved(&name) && name != trace::REQUEST_ID,
        "this header is the edge's own"
    );
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "name = 'shop'\nprefix = '/shop'\nupstream = { at = 'http://127.0.0.1:1' }\n";

    fn said(routes: &[String]) -> String {
        let routes: Result<Vec<Settings>, _> = routes.iter().map(|r| toml::from_str(r)).collect();
        match routes {
            Ok(routes) => faults(&routes, &[&"/api/v1/auth", &"/setup"]).join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_route_says_who_may_call_it_and_takes_nothing_of_ours() {
        assert_eq!(said(&[format!("{GOOD}public = true")]), "");
        let all = "require_scope = 'a'\nrequire_role = 'b'\nrewrite_prefix = '/x'\n\
                   set_headers = { authorization = 'Basic x' }\nallow = ['10.0.0.0/8']";
        assert_eq!(said(&[format!("{GOOD}{all}")]), "");
        let moved = |prefix: &str| GOOD.replace("/shop", prefix) + "public = true";
        for (route, named) in [
            (GOOD.to_owned(), "say who may call it"),
            (
                format!("{GOOD}public = true\nrequire_scope = 'x'"),
                "say who may call it",
            ),
            (moved("/api/v1/auth"), "collides"),
            (moved("/api/v1/auth/more"), "collides"),
            (moved("/api"), "collides"),
            (moved("/health"), "collides"),
            (moved("/"), "prefix"),
            (moved("/shop/"), "prefix"),
            (moved("shop"), "prefix"),
            (format!("{GOOD}public = true\nport = 1"), "port"),
            (
                format!("{GOOD}public = true\nallow = ['10.0.0.1']"),
                "network",
            ),
            (
                GOOD.replace("'http", "'ftp") + "public = true",
                "upstream.at",
            ),
            (GOOD.replace("'shop'", "'Shop!'") + "public = true", "name"),
            (
                format!("{GOOD}public = true\nstrip_prefix = true\nrewrite_prefix = '/x'"),
                "keep one",
            ),
            (
                format!("{GOOD}public = true\nset_headers = {{ x-banyan-roles = 'a' }}"),
                "set_headers.x-banyan-roles",
            ),
            (
                format!("{GOOD}public = true\nset_headers = {{ x = {{ file = '/nowhere' }} }}"),
                "set_headers.x",
            ),
            (
                format!("{GOOD}public = true\nremove_headers = ['content-length']"),
                "remove_headers",
            ),
        ] {
            let said = said(std::slice::from_ref(&route));
            assert!(said.contains(named), "{route}: {said:?}");
        }
        let twice = format!("{GOOD}public = true");
        let said = said(&[twice.clone(), twice]);
        assert!(
            said.contains("name: another") && said.contains("another route's"),
            "{said}"
        );
    }
}
