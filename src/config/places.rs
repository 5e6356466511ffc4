//! `[modules.<name>]`: where each module runs, and where its data lie.

use kernel::Secret;
use serde::{Deserialize, Deserializer, de::Error};
use url::Url;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub at: At,
    pub database_url: Secret,
}

/// Where a module runs, as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// In this process.
    Local,
    /// In another, to which this one forwards requests.
    Remote(Vec<Url>),
    /// In another, which is none of this process's business.
    Elsewhere,
}

pub(super) const LOCAL: &str = "local";
pub(super) const ELSEWHERE: &str = "elsewhere";

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            Many(Vec<String>),
        }
        let written = Written::deserialize(deserializer)
            .map_err(|_| D::Error::custom("is a text or a list of texts"))?;
        let texts: Vec<String> = match written {
            // A variable of the environment has no lists.
            Written::One(text) => text.split(',').map(|t| t.trim().to_owned()).collect(),
            Written::Many(texts) => texts,
        };
        match texts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [LOCAL] => return Ok(Self::Local),
            [ELSEWHERE] => return Ok(Self::Elsewhere),
            [] => return Err(D::Error::custom("names no place")),
            _ => {}
        }
        let url = |text: &String| {
            let url = Url::parse(text).ok()?;
            let plain = matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            plain.then_some(url)
        };
        let urls: Option<Vec<Url>> = texts.iter().map(url).collect();
        urls.map(Self::Remote).ok_or_else(|| {
            D::Error::custom("is \"local\", \"elsewhere\", or http://host:port of other processes")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_here_there_or_elsewhere() {
        let at = |value: serde_json::Value| serde_json::from_value::<At>(value).ok();
        let url = |text: &str| Url::parse(text).unwrap();
        assert_eq!(at("local".into()), Some(At::Local));
        assert_eq!(at("elsewhere".into()), Some(At::Elsewhere));
        assert_eq!(
            at("http://a:1, https://b".into()),
            Some(At::Remote(vec![url("http://a:1"), url("https://b")]))
        );
        assert_eq!(
            at(serde_json::json!(["http://a:1"])),
            Some(At::Remote(vec![url("http://a:1")]))
        );
        for bad in [
            "",
            "a:1",
            "ftp://a",
            "http://a/path",
            "http://u:p@a",
            "local,http://a",
        ] {
            assert_eq!(at(bad.into()), None, "{bad}");
        }
        assert_eq!(at(serde_json::json!([])), None);
    }
}
