//! Routes that modules serve to other processes of the installation, wherever they run.

use axum::{extract::Request, response::Response};
use kernel::Problem;
use tower::ServiceExt;

use super::{Gateway, forward::forward, is_down, outside::rewritten};

/// Below it, and the module's name, are its internal routes: on the listener for operations alone.
pub const PREFIX: &str = "/internal/";

impl Gateway {
    /// Asks a module by one of its internal routes: the request's path is that route's, as the module
    /// declares it. In this process if the module is here, else at `modules.<name>.internal_at`.
    ///
    /// The request carries what it is to tell of the client (`ClientAddress`) and of what it belongs to
    /// (`X-Request-Id`); the trace is that of the caller.
    ///
    /// # Errors
    /// When the module is down, or nobody has said where it answers.
    pub async fn ask_module(
        &self,
        module: &str,
        mut request: Request,
    ) -> Result<Response, Problem> {
        if let Some(slot) = self.app.slot(module) {
            let Some((_visit, router)) = slot.visit_internal() else {
                return Err(is_down(slot));
            };
            let answer: Result<_, std::convert::Infallible> = router.oneshot(request).await;
            return Ok(answer.unwrap_or_else(|never| match never {}));
        }
        let Some(upstream) = self.homes.internal(module) else {
            tracing::error!(module, "modules.{module}.internal_at is not set");
            return Err(Problem::unavailable(
                format!("The module {module} cannot be asked."),
                60,
            ));
        };
        let path = rewritten(request.uri(), "", &format!("{PREFIX}{module}"));
        *request.uri_mut() = path.ok_or_else(Problem::not_found)?;
        forward(&self.app, upstream, request, None).await
    }

    /// Answers another process that asks a module of this one. The path begins with [`PREFIX`].
    pub(crate) async fn answer_internal(&self, mut request: Request) -> Result<Response, Problem> {
        let rest = request.uri().path().strip_prefix(PREFIX);
        let (module, _) = rest
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_default();
        let slot = self.app.slot(module).ok_or_else(Problem::not_found)?;
        let module = slot.name();
        let path = rewritten(request.uri(), &format!("{PREFIX}{module}"), "");
        *request.uri_mut() = path.ok_or_else(Problem::not_found)?;
        self.ask_module(module, request).await
    }
}
