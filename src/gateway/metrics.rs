//! What the edge counts of requests as they pass. The rest of the metrics is looked at when somebody
//! asks ([`operations`](crate::operations)).

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use kernel::routes::Class;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, proto::MetricFamily,
};

/// From what a cached read takes to what no request may (server.request_timeout_seconds), in seconds.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = IntCounterVec::new(
            Opts::new(
                "banyan_http_requests_total",
                "Requests that were answered, by who was to answer them.",
            ),
            &["module", "class", "method", "status"],
        );
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "banyan_http_request_duration_seconds",
                "Time until the head of the answer.",
            )
            .buckets(BUCKETS.to_vec()),
            &["module", "class"],
        );
        let in_flight = IntGauge::new(
            "banyan_http_requests_in_flight",
            "Requests whose answer has not begun.",
        );
        let metrics = Self {
            registry: Registry::new(),
            requests: requests.expect("a constant"),
            durations: durations.expect("a constant"),
            in_flight: in_flight.expect("a constant"),
        };
        let all: [Box<dyn prometheus::core::Collector>; 3] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.durations.clone()),
            Box::new(metrics.in_flight.clone()),
        ];
        for one in all {
            metrics.registry.register(one).expect("each once");
        }
        metrics
    }
}

impl Metrics {
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// A request that is about to be answered; counted however that ends.
    pub fn enter<'m>(&'m self, module: &'m str, class: Class, method: &Method) -> Counted<'m> {
        self.in_flight.inc();
        Counted {
            metrics: self,
            module,
            class,
            method: method_name(method),
            status: None,
            began: Instant::now(),
        }
    }
}

/// Counts when it is dropped.
pub struct Counted<'m> {
    metrics: &'m Metrics,
    module: &'m str,
    class: Class,
    method: &'static str,
    status: Option<StatusCode>,
    began: Instant,
}

impl Counted<'_> {
    pub fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self { metrics, began, .. } = self;
        let (module, class) = (self.module, self.class.name());
        let status = match self.status {
            Some(status) => status_class(status),
            // What `trace` answers for a handler that panicked.
            None if std::thread::panicking() => "5xx",
            None => "aborted",
        };
        let labels = [module, class, self.method, status];
        metrics.in_flight.dec();
        metrics.requests.with_label_values(&labels).inc();
        let durations = metrics.durations.with_label_values(&[module, class]);
        durations.observe(Duration::as_secs_f64(&began.elapsed()));
    }
}

/// Anybody can send any method: those that are not known are one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_to_string(&metrics.gather()).unwrap()
    }

    #[test]
    fn every_request_is_counted_however_it_ends() {
        let metrics = Metrics::default();
        let enter = |method| metrics.enter("profile", Class::Read, method);
        enter(&Method::GET).answered(StatusCode::NOT_FOUND);
        drop(enter(&Method::GET));
        let brew = "BREW".parse().unwrap();
        let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _counted = enter(&brew);
            panic!("a handler's");
        }));
        assert!(panics.is_err());
        let held = enter(&Method::GET);
        let text = text(&metrics);
        for line in [
            r#"banyan_http_requests_total{class="read",method="GET",module="profile",status="4xx"} 1"#,
            r#"banyan_http_requests_total{class="read",method="GET",module="profile",status="aborted"} 1"#,
            r#"banyan_http_requests_total{class="read",method="other",module="profile",status="5xx"} 1"#,
            r#"banyan_http_request_duration_seconds_count{class="read",module="profile"} 3"#,
            "banyan_http_requests_in_flight 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop(held);
    }
}
