//! `[service]`: what this process is to others of the installation.

use kernel::Secret;
use serde::Deserialize;
use url::Url;

/// As what this process calls other processes, and where it finds what it needs for that.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Empty: as nobody.
    pub id: String,
    pub secret: Secret,
    #[serde(deserialize_with = "optional_url")]
    pub token_url: Option<Url>,
    #[serde(deserialize_with = "optional_url")]
    pub jwks_url: Option<Url>,
}

impl Service {
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.id.is_empty() != self.secret.expose().is_empty() {
            faults.push("service.id and service.secret are set together".to_owned());
        }
        for (key, url) in [
            ("service.token_url", &self.token_url),
            ("service.jwks_url", &self.jwks_url),
        ] {
            let good = url.as_ref().is_none_or(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.fragment().is_none()
            });
            if !good {
                faults.push(format!(
                    "{key} begins with http:// or https:// and holds no password"
                ));
            }
        }
        faults
    }
}

fn optional_url<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Some(&*text).filter(|text| !text.is_empty());
    url.map(str::parse).transpose().map_err(|error| {
        serde::de::Error::custom(format!("{error}: write it as https://host/path"))
    })
}
