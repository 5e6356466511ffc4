//! `POST /setup`.

use std::sync::Arc;

use axum::{
    Form,
    extract::{State as Shared, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use kernel::{Problem, Secret, csrf};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ClosedPage, DonePage, FormPage, InvalidFields, page};
use crate::{
    State,
    domain::{DisplayName, Email, Password, SetupCode},
    http::error::Error,
    setup::{self, NewAdmin},
    store,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupRequest {
    /// As shown where the program was started.
    #[schema(value_type = String)]
    code: Secret,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret,
    #[serde(default)]
    display_name: String,
}

/// The form in types that cannot be wrong.
#[derive(Debug)]
struct Submission {
    email: Email,
    password: Password,
    display_name: Option<DisplayName>,
}

impl SetupRequest {
    fn parse(&self) -> Result<Submission, InvalidFields> {
        let mut invalid = InvalidFields::default();
        let email = Email::parse(&self.email).map_err(|wrong| invalid.email = Some(wrong));
        let password = Password::parse(&self.password, &[&self.email, &self.display_name])
            .map_err(|wrong| invalid.password = Some(wrong));
        // An empty field of a form is one that was left out.
        let display_name = Some(self.display_name.trim())
            .filter(|name| !name.is_empty())
            .map(DisplayName::parse)
            .transpose()
            .map_err(|wrong| invalid.display_name = Some(wrong));
        match (email, password, display_name) {
            (Ok(email), Ok(password), Ok(display_name)) => Ok(Submission {
                email,
                password,
                display_name,
            }),
            _ => Err(invalid),
        }
    }

    /// The page again, as it was filled in but for the secrets.
    fn page_again(self, status: StatusCode, invalid: InvalidFields) -> Response {
        page(
            status,
            &FormPage {
                problem: None,
                email: self.email,
                display_name: self.display_name,
                invalid,
            },
        )
    }
}

const WRONG_CODE: InvalidFields = InvalidFields {
    code: Some("is not one that was shown, or has expired; a restart shows a new one"),
    email: None,
    password: None,
    display_name: None,
};

/// Makes the first administrator.
#[utoipa::path(
    post,
    path = "/setup",
    operation_id = "setup",
    request_body(content = SetupRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 201, description = "The administrator exists; the page says how to sign in",
         body = String, content_type = "text/html"),
        (status = 400, description = "The form cannot be read", body = Problem),
        (status = 403, description = "The request was not made by this page", body = String,
         content_type = "text/html"),
        (status = 404, description = "There is an administrator already", body = String,
         content_type = "text/html"),
        (status = 422, description = "The form again, with what is wrong", body = String,
         content_type = "text/html"),
        (status = 503, description = "Too busy at the moment; see Retry-After", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.setup", skip_all)]
pub(crate) async fn submit(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    form: Result<Form<SetupRequest>, FormRejection>,
) -> Result<Response, Error> {
    // A page elsewhere that guessed the address could otherwise have a browser that stands inside
    // the network try codes, or sign an attacker up.
    if !csrf::is_same_origin(&headers, &state.public_url) {
        return Ok(page(
            StatusCode::FORBIDDEN,
            &FormPage {
                problem: Some(
                    "The request did not come from this page. Open it at the address that was \
                     shown with the code, and fill it in again.",
                ),
                ..FormPage::default()
            },
        ));
    }
    let Ok(Form(request)) = form else {
        return Ok(page(
            StatusCode::BAD_REQUEST,
            &FormPage {
                problem: Some("The form could not be read. Fill it in again."),
                ..FormPage::default()
            },
        ));
    };
    let world = state.db.world();
    let digest =
        SetupCode::parse(request.code.expose()).map(|code| code.digest(&state.keys.setup_codes));
    {
        let mut conn = state.db.pool().acquire().await?;
        if store::users::has_admin(&mut conn).await? {
            return Ok(page(StatusCode::NOT_FOUND, &ClosedPage));
        }
        // Before anything is hashed: strangers must not keep the threads busy that sign-ins need.
        let good = match &digest {
            Some(digest) => store::setup_codes::is_good(&mut conn, digest, world.now()).await?,
            None => false,
        };
        if !good {
            return Ok(request.page_again(StatusCode::UNPROCESSABLE_ENTITY, WRONG_CODE));
        }
    }
    let submission = match request.parse() {
        Ok(submission) => submission,
        Err(invalid) => {
            return Ok(request.page_again(StatusCode::UNPROCESSABLE_ENTITY, invalid));
        }
    };
    let place = state.passwords.reserve()?;
    let admin = NewAdmin {
        email: submission.email,
        password_hash: state.passwords.hash(place, submission.password).await?,
        display_name: submission.display_name,
    };

    let now = world.now();
    let mut tx = state.db.begin().await?;
    let consumed = match &digest {
        Some(digest) => store::setup_codes::consume(&mut tx, digest, now).await?,
        None => false,
    };
    if !consumed {
        return Ok(request.page_again(StatusCode::UNPROCESSABLE_ENTITY, WRONG_CODE));
    }
    let created = setup::create_admin(&mut tx, world, &state.config, &admin, now).await?;
    if created.is_none() {
        // Rolled back: the code stays good.
        let taken = InvalidFields {
            email: Some("has an account; give it the role with `banyan user create-admin`"),
            ..InvalidFields::default()
        };
        return Ok(request.page_again(StatusCode::UNPROCESSABLE_ENTITY, taken));
    }
    tx.commit().await?;
    let done = DonePage {
        email: admin.email.as_str(),
    };
    Ok(page(StatusCode::CREATED, &done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(email: &str, password: &str, display_name: &str) -> SetupRequest {
        SetupRequest {
            code: Secret::new(""),
            email: email.to_owned(),
            password: Secret::new(password),
            display_name: display_name.to_owned(),
        }
    }

    #[test]
    fn fields_are_checked_all_at_once() {
        let good = request("ada@example.org", "correct horse", " ").parse();
        assert!(good.unwrap().display_name.is_none());
        let wrong = request("ada", "short", "a\nb").parse().unwrap_err();
        assert!(wrong.email.is_some() && wrong.password.is_some());
        assert!(wrong.display_name.is_some() && wrong.code.is_none());
    }
}
