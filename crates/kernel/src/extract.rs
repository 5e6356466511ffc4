//! Extractors that refuse with a problem document; axum's own refuse with plain text.

use axum::{
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, FromRequestParts, Multipart, Request,
        multipart::MultipartError,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use utoipa::ToSchema;

use crate::{
    csrf::{self, PublicUrl},
    page::PageParams,
    problem::{FieldError, Problem},
    shape,
};

/// Of a JSON body. Uploads may have more, up to server.max_body_bytes; to read so much JSON for somebody
/// who only wants to sign in would be work for nothing.
const MAX_JSON_BYTES: usize = 1 << 20;

/// A JSON body, in or out.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + ToSchema, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(axum::http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_json);
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            )
            .detail("Send it with Content-Type: application/json."));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| body_problem(rejection.status(), rejection.body_text()))?;
        // Read to its end all the same, which the edge bounds: whoever is still sending, and a gateway in
        // front first of all, would take an early answer for a broken connection.
        if bytes.len() > MAX_JSON_BYTES {
            return Err(Problem::payload_too_large());
        }
        if has_nul(&bytes) {
            return Err(Problem::malformed(NUL));
        }
        match axum::Json::from_bytes(&bytes) {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(error)) => {
                let (field, message) = data_error(&error.body_text());
                Err(Problem::validation(all_faults::<T>(&bytes, field, message)))
            }
            Err(rejection) => Err(body_problem(rejection.status(), rejection.body_text())),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 17
            && essence[..12].eq_ignore_ascii_case("application/")
            && essence[essence.len() - 5..].eq_ignore_ascii_case("+json"))
}

const NUL: &str = "Text must not hold the character U+0000.";

/// Does the JSON hold an escaped NUL? PostgreSQL's text and jsonb cannot store one.
fn has_nul(bytes: &[u8]) -> bool {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        if escaped {
            escaped = false;
            if bytes[at..].starts_with(b"u0000") {
                return true;
            }
        } else {
            escaped = *byte == b'\\';
        }
    }
    false
}

/// Every field that is wrong; the one that serde stopped at among them.
fn all_faults<T: ToSchema>(body: &[u8], field: String, message: String) -> Vec<FieldError> {
    let value = serde_json::from_slice(body);
    let mut faults = value.map_or_else(|_| Vec::new(), |value| shape::faults::<T>(&value));
    // serde names the object where something in it is missing.
    let root = field.trim_end_matches('/');
    let below = |at: &str| {
        at.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !faults.iter().any(|fault| below(&fault.field)) {
        faults.insert(0, FieldError::new(field, message));
    }
    faults
}

/// serde's words for a wrong field, as a pointer and a message.
fn data_error(text: &str) -> (String, String) {
    let text = text
        .rsplit_once("target type: ")
        .map_or(text, |(_, rest)| rest);
    let text = text.split(" at line ").next().unwrap_or(text);
    if let Some((path, message)) = text.split_once(": ")
        && !path.contains(' ')
    {
        return (format!("/{}", path.replace('.', "/")), message.to_owned());
    }
    let quoted = text.split('`').nth(1).unwrap_or_default();
    (format!("/{quoted}"), text.to_owned())
}

fn body_problem(status: StatusCode, text: String) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::payload_too_large();
    }
    Problem::malformed(text)
}

/// A form of one of our own pages. What another page sends is refused: sign-in forms too, or a stranger
/// could sign somebody in as themselves.
#[derive(Clone, Copy, Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let own = request.extensions().get::<PublicUrl>();
        if !own.is_some_and(|own| csrf::is_same_origin(request.headers(), &own.0)) {
            return Err(csrf::cross_site());
        }
        let form = axum::Form::from_request(request, state).await;
        let axum::Form(value) =
            form.map_err(|rejection| body_problem(rejection.status(), rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// The file in a form of one of our own pages (`multipart/form-data`): of its parts, the first that has
/// the name `file`. Empty when none was chosen.
#[derive(Clone, Debug)]
pub struct Upload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        let own = request.extensions().get::<PublicUrl>();
        if !own.is_some_and(|own| csrf::is_same_origin(request.headers(), &own.0)) {
            return Err(csrf::cross_site());
        }
        // The edge bounds it: axum's own bound is less than what may be uploaded.
        DefaultBodyLimit::disable().apply(&mut request);
        let form = Multipart::from_request(request, state).await;
        let mut form = form.map_err(|error| body_problem(error.status(), error.body_text()))?;
        let mut file = None;
        // To its end, as with JSON.
        loop {
            let problem = |error: MultipartError| body_problem(error.status(), error.body_text());
            let Some(part) = form.next_field().await.map_err(problem)? else {
                return Ok(Self(file.unwrap_or_default()));
            };
            let is_file = part.name() == Some("file");
            let bytes = part.bytes().await.map_err(problem)?;
            if is_file && file.is_none() {
                file = Some(bytes);
            }
        }
    }
}

/// Path parameters. One that does not parse names nothing: 404.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection: PathRejection| {
                if rejection.status().is_server_error() {
                    Problem::internal(rejection)
                } else {
                    Problem::not_found()
                }
            })
    }
}

/// Query parameters. The type should deny unknown fields: a filter that is misspelt would find too
/// much.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri).map(Self)
    }
}

/// Query parameters of a list: its own, and which page.
#[derive(Clone, Debug)]
pub struct PagedQuery<T>(pub T, pub PageParams);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for PagedQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let of_page = |pair: &&str| ["cursor", "limit"].contains(&pair.split('=').next().unwrap());
        let (page, own): (Vec<_>, Vec<_>) = pairs.partition(of_page);
        let part = |pairs: Vec<&str>| -> Result<Uri, Problem> {
            let uri = format!("/?{}", pairs.join("&"));
            uri.parse().map_err(|_| Problem::not_found())
        };
        Ok(Self(query(&part(own)?)?, query(&part(page)?)?))
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    if uri.query().is_some_and(|query| query.contains("%00")) {
        return Err(Problem::malformed(NUL));
    }
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(value)| value)
        .map_err(|rejection: QueryRejection| {
            let text = rejection.body_text();
            let text = text
                .rsplit_once("query string: ")
                .map_or(&*text, |(_, rest)| rest);
            let (field, message) = data_error(text);
            let field = field.trim_start_matches('/').to_owned();
            Problem::validation(vec![FieldError::new(field, message)])
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn finds_only_real_nul_escapes() {
        assert!(has_nul(br#"{"a":"x\u0000"}"#));
        assert!(has_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\u0001"}"#));
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        level: Option<String>,
    }

    #[tokio::test]
    async fn json_is_bounded_whatever_the_edge_lets_pass() {
        for (bytes, status) in [(MAX_JSON_BYTES, None), (MAX_JSON_BYTES + 1, Some(413))] {
            let body = format!("\"{}\"", "x".repeat(bytes - 2));
            let mut request = Request::post("/")
                .header("content-type", "application/json")
                .body(body.into())
                .unwrap();
            axum::extract::DefaultBodyLimit::disable().apply(&mut request);
            let read = Json::<String>::from_request(request, &()).await;
            assert_eq!(read.err().map(|problem| problem.status), status);
        }
    }

    async fn paged(query: &str) -> Result<PagedQuery<Filter>, Problem> {
        let request = Request::get(format!("/logs{query}")).body(()).unwrap();
        PagedQuery::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn a_filter_that_is_not_known_is_refused_by_name() {
        let PagedQuery(filter, page) = paged("?limit=7&level=info&cursor=a%3D").await.unwrap();
        assert_eq!(filter.level.as_deref(), Some("info"));
        assert_eq!((page.limit, page.cursor.as_deref()), (Some(7), Some("a=")));
        assert!(paged("").await.unwrap().0.level.is_none());

        for (query, field) in [("?levle=info", "levle"), ("?level=info&limit=x", "limit")] {
            let problem = paged(query).await.unwrap_err();
            assert_eq!(problem.status, 422);
            assert_eq!(problem.errors[0].field, field, "{problem:?}");
        }
    }

    async fn upload(site: &str, body: &str) -> Result<Bytes, u16> {
        let mut request = Request::post("/")
            .header("content-type", "multipart/form-data; boundary=b")
            .header("sec-fetch-site", site)
            .body(body.to_owned().into())
            .unwrap();
        let own = "https://app.test".parse().unwrap();
        request.extensions_mut().insert(PublicUrl(Arc::new(own)));
        let upload = Upload::from_request(request, &()).await;
        upload.map(|Upload(bytes)| bytes).map_err(|p| p.status)
    }

    #[tokio::test]
    async fn a_file_is_taken_from_our_own_pages_alone() {
        let part = |name: &str, text: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body = [part("x", "1"), part("file", "2"), part("file", "3")].concat() + "--b--\r\n";
        assert_eq!(upload("same-origin", &body).await.unwrap(), "2");
        assert_eq!(upload("cross-site", &body).await, Err(403));
        assert_eq!(upload("same-origin", "--b--\r\n").await.unwrap(), "");
        assert_eq!(upload("same-origin", &part("file", "cut")).await, Err(400));
        let large = part("file", &"x".repeat(3 << 20)) + "--b--\r\n";
        assert_eq!(upload("same-origin", &large).await.unwrap().len(), 3 << 20);
    }

    #[derive(Debug, serde::Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is looked at")]
    struct Sent {
        email: String,
        #[schema(value_type = String)]
        address: std::net::IpAddr,
        password: String,
    }

    async fn faults_of(body: &str) -> Vec<(String, String)> {
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(body.to_owned().into()).unwrap();
        let problem = Json::<Sent>::from_request(request, &()).await.unwrap_err();
        assert_eq!(problem.status, 422, "{problem:?}");
        let errors = problem.errors.into_iter();
        errors.map(|error| (error.field, error.message)).collect()
    }

    #[tokio::test]
    async fn all_fields_that_are_wrong_are_named_at_once() {
        let fields = async |body| {
            let mut fields = faults_of(body).await;
            fields.sort();
            fields
                .into_iter()
                .map(|(field, _)| field)
                .collect::<Vec<_>>()
        };
        let body = r#"{ "email": 3, "passwort": "hunter2" }"#;
        let all = ["/address", "/email", "/password", "/passwort"];
        assert_eq!(fields(body).await, all);
        // What only serde knows stands beside what the schema says.
        let body = r#"{ "address": "nowhere", "email": "a", "password": null }"#;
        assert_eq!(fields(body).await, ["/address", "/password"]);
        for (_, message) in faults_of(r#"{ "email": "a", "password": 8471 }"#).await {
            assert!(!message.contains("8471"), "a secret is shown: {message}");
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let text = "Failed to deserialize the JSON body into the target type: \
                    user.email: invalid type: integer `1`, expected a string at line 1 column 9";
        let (field, message) = data_error(text);
        assert_eq!(field, "/user/email");
        assert_eq!(message, "invalid type: integer `1`, expected a string");
        let text = "Failed to deserialize the JSON body into the target type: \
                    missing field `password` at line 1 column 20";
        assert_eq!(data_error(text).0, "/password");
    }
}
