//! A request for a token: who asks, with which secret, for what.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use kernel::Secret;
use url::form_urlencoded;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::error::TokenError;
use crate::domain::{ClientId, Scopes, ServiceSecret};

/// Room for all scopes that a service may have, percent-encoded, and then some.
const MAX_BODY_BYTES: usize = 8 * 1024;

/// The form, as clients fill it in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form that is read pair by pair")]
pub(crate) struct TokenRequest {
    #[schema(examples("client_credentials"))]
    grant_type: String,
    /// Scopes of the service, separated by spaces; all of them if it is left out.
    scope: Option<String>,
    /// With `client_secret`, in place of the header `Authorization: Basic`.
    client_id: Option<String>,
    #[schema(format = Password)]
    client_secret: Option<String>,
}

/// A request in types that cannot be wrong.
#[derive(Debug)]
pub(crate) struct ClientCredentials {
    pub(crate) client_id: ClientId,
    pub(crate) secret: ServiceSecret,
    /// Nothing: all that the service has.
    pub(crate) scopes: Option<Scopes>,
}

impl<S: Send + Sync> FromRequest<S> for ClientCredentials {
    type Rejection = TokenError;

    async fn from_request(request: Request, _: &S) -> Result<Self, TokenError> {
        use TokenError::InvalidRequest;
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let essence = content_type
            .and_then(|value| value.to_str().ok()?.split(';').next())
            .unwrap_or_default();
        if !essence
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            return Err(InvalidRequest(
                "Send a form, with Content-Type: application/x-www-form-urlencoded.",
            ));
        }
        let body = to_bytes(body, MAX_BODY_BYTES)
            .await
            .map_err(|_| InvalidRequest("The body cannot be read, or has more than 8 KiB."))?;
        parse(&parts.headers, &body)
    }
}

/// The parameters that are known; others are ignored (RFC 6749 §3.2).
#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
}

impl Form {
    /// One without a value counts as left out, and none may come twice (RFC 6749 §3.2).
    fn read(body: &[u8]) -> Result<Self, TokenError> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            let repeated = match &*name {
                "grant_type" => form.grant_type.replace(value.into_owned()).is_some(),
                "scope" => form.scope.replace(value.into_owned()).is_some(),
                "client_id" => form.client_id.replace(value.into_owned()).is_some(),
                "client_secret" => {
                    let secret = Secret::new(value.into_owned());
                    form.client_secret.replace(secret).is_some()
                }
                _ => false,
            };
            if repeated {
                return Err(TokenError::InvalidRequest("A parameter comes twice."));
            }
        }
        Ok(form)
    }
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<ClientCredentials, TokenError> {
    let form = Form::read(body)?;
    match form.grant_type.as_deref() {
        Some("client_credentials") => {}
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => return Err(TokenError::InvalidRequest("The grant_type is missing.")),
    }
    let (id, secret) = match (basic(headers)?, form.client_id, form.client_secret) {
        (Some(_), _, Some(_)) => {
            return Err(TokenError::InvalidRequest(
                "Credentials come either in the header or in the form (RFC 6749 section 2.3).",
            ));
        }
        (Some((id, _)), Some(other), None) if id != other => {
            return Err(TokenError::InvalidRequest(
                "The client_id is another than that of the header.",
            ));
        }
        (Some(basic), _, None) => basic,
        (None, Some(id), Some(secret)) => (id, secret),
        (None, _, _) => return Err(TokenError::InvalidClient),
    };
    // What can be no service's is refused without further ado: whoever sends it knows as much.
    let (Ok(client_id), Some(secret)) =
        (ClientId::parse(&id), ServiceSecret::parse(secret.expose()))
    else {
        return Err(TokenError::InvalidClient);
    };
    let scopes = form.scope.map(|scope| Scopes::parse(scope.split(' ')));
    Ok(ClientCredentials {
        client_id,
        secret,
        scopes: scopes.transpose().map_err(|_| TokenError::InvalidScope)?,
    })
}

/// Id and secret of the header, each percent-decoded (RFC 6749 §2.3.1). Other schemes are not
/// looked at: a stale bearer token must not keep anybody from signing in.
fn basic(headers: &HeaderMap) -> Result<Option<(String, Secret)>, TokenError> {
    let value = headers.get(header::AUTHORIZATION);
    let Some((scheme, encoded)) = value.and_then(|value| value.to_str().ok()?.split_once(' '))
    else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = || {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
        let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        Some((percent_decoded(id)?, Secret::new(percent_decoded(secret)?)))
    };
    decoded().map(Some).ok_or(TokenError::InvalidClient)
}

/// A single value of a form. Nothing when it would be several.
fn percent_decoded(value: &str) -> Option<String> {
    if value.contains(['&', '=']) {
        return None;
    }
    let (value, _) = form_urlencoded::parse(value.as_bytes()).next()?;
    Some(value.into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const SECRET: &str = "bys_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn basic_header(credentials: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        let value = HeaderValue::try_from(value).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    /// The scopes asked for, or the error's code.
    fn outcome(headers: &HeaderMap, body: &str) -> String {
        match parse(headers, body.as_bytes()) {
            Ok(request) => {
                assert_eq!(request.client_id.as_str(), "log-shipper");
                assert_eq!(request.secret.expose(), SECRET);
                let scopes = request.scopes.map(|scopes| scopes.joined());
                scopes.unwrap_or_else(|| "all".to_owned())
            }
            Err(error) => {
                let problem = serde_json::to_value(kernel::Problem::from(error)).unwrap();
                problem["error"].as_str().unwrap().to_owned()
            }
        }
    }

    #[test]
    fn credentials_come_in_the_header_or_in_the_form() {
        let good = basic_header(&format!("log-shipper:{SECRET}"));
        let encoded = basic_header(&format!("log%2Dshipper:bys%5f{}", &SECRET[4..]));
        let bearer =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
        let none = HeaderMap::new();
        let grant = "grant_type=client_credentials";
        let posted = format!("{grant}&client_id=log-shipper&client_secret={SECRET}");
        for (headers, body, expected) in [
            (&good, grant.to_owned(), "all"),
            (&encoded, grant.to_owned(), "all"),
            (&none, posted.clone(), "all"),
            (&bearer, posted.clone(), "all"),
            (
                &good,
                format!("{grant}&scope=b+a%20b&other=1&other=2"),
                "a b",
            ),
            (&good, format!("{grant}&scope="), "all"),
            (&good, format!("{grant}&client_id=log-shipper"), "all"),
            (&good, format!("{grant}&client_id=edge"), "invalid_request"),
            (&good, posted.clone(), "invalid_request"),
            (&good, format!("{grant}&{grant}"), "invalid_request"),
            (&good, String::new(), "invalid_request"),
            (
                &good,
                "grant_type=password".to_owned(),
                "unsupported_grant_type",
            ),
            (&good, format!("{grant}&scope=a++b"), "invalid_scope"),
            (&good, format!("{grant}&scope=%22"), "invalid_scope"),
            (&none, grant.to_owned(), "invalid_client"),
            (&bearer, grant.to_owned(), "invalid_client"),
            (
                &none,
                format!("{grant}&client_id=log-shipper"),
                "invalid_client",
            ),
            (&none, posted.replace("bys_", "byt_"), "invalid_client"),
            (&none, posted.replace("log-", "LOG-"), "invalid_client"),
        ] {
            assert_eq!(outcome(headers, &body), expected, "{headers:?} {body}");
        }
        for credentials in ["log-shipper", "", ":", "log-shipper:", "a=b:c&d", "é:%ff"] {
            let headers = basic_header(credentials);
            assert_eq!(outcome(&headers, grant), "invalid_client", "{credentials}");
        }
        for header in ["Basic", "Basic ***", "Basic \u{e4}"] {
            let value = HeaderValue::from_bytes(header.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert_eq!(outcome(&headers, grant), "invalid_client", "{header}");
        }
    }

    #[test]
    fn refusals_are_for_clients_of_either_kind() {
        let problem = kernel::Problem::from(TokenError::InvalidClient);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/problems/invalid-client");
        assert_eq!(json["status"], 401);
        assert_eq!(json["error"], "invalid_client");
        assert_eq!(json["error_description"], json["detail"]);
    }
}
