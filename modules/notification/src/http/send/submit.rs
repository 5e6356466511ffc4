//! `POST /api/v1/notifications/send`.

use std::collections::HashSet;

use axum::{
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kernel::{
    FieldError, Json, Principal, Problem, RequestContext, Tx, UserId,
    idempotency::{Begun, Idempotent},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DeliveryView, SendView, sender};
use crate::{
    State,
    domain::{Category, Channel, Message, Notice, Words},
    events::SendRequested,
    outbound::{Cause, NewMail},
    store::{self, sends::Addressee},
};

/// In one request. Who has more people to tell sends more requests.
const MAX_RECIPIENTS: usize = 100;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendRequest {
    /// Whom to tell, each once.
    #[schema(min_items = 1, max_items = 100)]
    recipients: Vec<UserId>,
    category: SendCategory,
    /// Where; everywhere unless told.
    #[serde(default = "everywhere")]
    #[schema(min_items = 1)]
    channels: Vec<Channel>,
    content: SendContent,
}

/// What people can switch off. What happens to their accounts is not for services to tell.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SendCategory {
    Account,
    Product,
}

/// Plain text; it is shown as it is, and markup in it is text.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendContent {
    /// One line; the subject of the mail.
    #[schema(min_length = 1, max_length = 120)]
    title: String,
    /// Paragraphs are parted by an empty line.
    #[schema(min_length = 1, max_length = 4000)]
    body: String,
    /// Where it leads: http or https.
    #[serde(default)]
    #[schema(max_length = 2000)]
    action_url: Option<String>,
}

fn everywhere() -> Vec<Channel> {
    vec![Channel::Email, Channel::InApp]
}

/// The request in types that cannot be wrong.
struct Parsed {
    recipients: Vec<Uuid>,
    category: Category,
    email: bool,
    in_app: bool,
    words: Words,
}

impl SendRequest {
    fn parse(&self) -> Result<Parsed, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: String, message: &str| errors.push(FieldError::new(field, message));
        if !(1..=MAX_RECIPIENTS).contains(&self.recipients.len()) {
            wrong("/recipients".to_owned(), "must be 1 to 100");
        } else {
            let mut seen = HashSet::new();
            for (at, user_id) in self.recipients.iter().enumerate() {
                if !seen.insert(user_id) {
                    wrong(format!("/recipients/{at}"), "is there already");
                }
            }
        }
        let on = |channel| self.channels.contains(&channel);
        let (email, in_app) = (on(Channel::Email), on(Channel::InApp));
        if self.channels.len() != usize::from(email) + usize::from(in_app)
            || self.channels.is_empty()
        {
            wrong(
                "/channels".to_owned(),
                "must name one channel or both, each once",
            );
        }
        let content = &self.content;
        let title =
            Words::title(&content.title).map_err(|why| wrong("/content/title".to_owned(), why));
        let body = Words::body(&content.body).map_err(|why| wrong("/content/body".to_owned(), why));
        let action_url = content.action_url.as_deref().map(Words::action_url);
        let action_url = action_url
            .transpose()
            .map_err(|why| wrong("/content/action_url".to_owned(), why));
        match (title, body, action_url) {
            (Ok(title), Ok(body), Ok(action_url)) if errors.is_empty() => Ok(Parsed {
                recipients: self.recipients.iter().map(|user_id| user_id.0).collect(),
                category: match self.category {
                    SendCategory::Account => Category::Account,
                    SendCategory::Product => Category::Product,
                },
                email,
                in_app,
                words: Words {
                    title,
                    body,
                    action_url,
                },
            }),
            _ => Err(errors),
        }
    }
}

/// Has people told something, by mail and in the app, as far as they want it.
///
/// All of it is taken or none. With an `Idempotency-Key`, a repetition within a day changes nothing
/// and is answered as the first was.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/send",
    operation_id = "send_notifications",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Of this request and its \
            repetitions: 1 to 200 characters.")
    ),
    request_body = SendRequest,
    responses(
        (status = 202, description = "Taken; what is to be mailed is on its way", body = SendView),
        (status = 400, description = "The body is not JSON, or the key is malformed",
            body = Problem),
        (status = 401, description = "No token, or one that is not valid", body = Problem),
        (status = 403, description = "Not a service, or without the scope notifications:send",
            body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is of another media type", body = Problem),
        (status = 422, description = "Fields are not valid, or a recipient is not known; \
            `idempotency-key-reused`: the key was used for another request", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.send", skip_all)]
pub(crate) async fn send(
    Shared(state): Shared<State>,
    principal: Principal,
    idempotent: Idempotent,
    Json(request): Json<SendRequest>,
) -> Result<Response, Problem> {
    let sender = sender(&principal)?;
    let parsed = request.parse().map_err(Problem::validation)?;

    let mut tx = state.db.begin().await?;
    let slot = match idempotent.begin(&mut tx, &request).await? {
        Begun::First(slot) => slot,
        Begun::Again(answer) => return Ok(answer.into_response()),
    };
    let addressees = store::sends::addressees(&mut tx, &parsed.recipients).await?;
    if addressees.len() < parsed.recipients.len() {
        return Err(unknown(&parsed.recipients, &addressees));
    }
    let view = tell(&state, &mut tx, &sender, &parsed, addressees).await?;
    let answer = slot.finish(&mut tx, StatusCode::ACCEPTED, &view).await?;
    tx.commit().await?;
    Ok(answer.into_response())
}

fn unknown(recipients: &[Uuid], known: &[Addressee]) -> Problem {
    let known: HashSet<Uuid> = known.iter().map(|addressee| addressee.user_id.0).collect();
    let errors = recipients
        .iter()
        .enumerate()
        .filter(|(_, user_id)| !known.contains(user_id))
        .map(|(at, _)| FieldError::new(format!("/recipients/{at}"), "is nobody who is known"))
        .collect();
    Problem::validation(errors)
}

async fn tell(
    state: &State,
    tx: &mut Tx,
    sender: &str,
    parsed: &Parsed,
    addressees: Vec<Addressee>,
) -> Result<SendView, sqlx::Error> {
    let outbound = &state.outbound;
    let world = outbound.world();
    let (id, now) = (world.uuid(), world.now());
    store::sends::insert(tx, id, sender, parsed.category, now).await?;
    let event_id = tx.publish(&SendRequested {
        send_id: id,
        category: parsed.category.as_str().to_owned(),
        recipients: i32::try_from(addressees.len()).unwrap_or(i32::MAX),
    });
    let mut context = RequestContext::current().unwrap_or_else(|| RequestContext::root(world));
    context.causation_id = Some(event_id);
    let cause = Cause {
        event_id,
        context,
        send_id: Some(id),
    };
    let (category, words) = (parsed.category, &parsed.words);
    let mut deliveries = Vec::new();
    for addressee in addressees {
        let user_id = addressee.user_id;
        let idempotency_key = format!("send:{id}:{user_id}");
        let mut told = |channel: Channel, id, status: &str| {
            deliveries.push(DeliveryView {
                id,
                recipient: user_id,
                channel: channel.as_str().to_owned(),
                status: status.to_owned(),
            });
        };
        if parsed.email {
            let wanted = addressee.preferences.allow(category, Channel::Email);
            let mail = NewMail {
                user_id: Some(user_id),
                address: &addressee.email,
                locale: &addressee.locale,
                message: Message::FromService {
                    category,
                    words: words.clone(),
                },
                idempotency_key: &idempotency_key,
                expires_at: now + outbound.lifetime,
            };
            if let Some((id, status)) = outbound.queue(tx, &cause, mail, wanted).await? {
                told(Channel::Email, Some(id), &status);
            }
        }
        if parsed.in_app {
            let notice = Notice::FromService {
                category,
                words: words.clone(),
            };
            if addressee.preferences.allow(category, Channel::InApp) {
                let id = outbound
                    .show(tx, &cause, user_id, &notice, &idempotency_key)
                    .await?;
                told(Channel::InApp, id, "sent");
            } else {
                told(Channel::InApp, None, "muted");
            }
        }
    }
    Ok(SendView { id, deliveries })
}
