//! `/metrics`, in the text format of Prometheus (0.0.4). docs/operations.md lists all of them.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use kernel::Problem;
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder, core::Collector};

use super::{Operations, process::Usage};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn serve(State(this): State<Arc<Operations>>) -> Response {
    match this.text().await {
        Ok(text) => {
            let format = HeaderValue::from_static(FORMAT);
            ([(header::CONTENT_TYPE, format)], text).into_response()
        }
        Err(error) => Problem::internal(error).into_response(),
    }
}

/// What is as it is at the moment, written down for one scrape: what is gone is not told of.
#[derive(Default)]
struct Page {
    registry: Registry,
}

/// Labels with their values, and the value.
type Value<'l> = (Vec<(&'static str, &'l str)>, f64);

impl Page {
    fn gauge<'l>(&self, name: &str, help: &str, values: impl IntoIterator<Item = Value<'l>>) {
        self.all(name, help, values, GaugeVec::new, |gauge, labels, value| {
            gauge.with_label_values(labels).set(value);
        });
    }

    fn counter<'l>(&self, name: &str, help: &str, values: impl IntoIterator<Item = Value<'l>>) {
        self.all(
            name,
            help,
            values,
            CounterVec::new,
            |counter, labels, value| {
                counter.with_label_values(labels).inc_by(value);
            },
        );
    }

    /// Nothing is written when there are no values.
    fn all<'l, C: Collector + Clone + 'static>(
        &self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = Value<'l>>,
        new: impl Fn(Opts, &[&str]) -> prometheus::Result<C>,
        set: impl Fn(&C, &[&str], f64),
    ) {
        let mut collector: Option<C> = None;
        for (labels, value) in values {
            let collector = collector.get_or_insert_with(|| {
                let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
                new(Opts::new(name, help), &names).expect("names are constants")
            });
            let values: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
            set(collector, &values, value);
        }
        if let Some(collector) = collector {
            let registered = self.registry.register(Box::new(collector));
            registered.expect("each name once");
        }
    }
}

fn one(value: f64) -> [Value<'static>; 1] {
    [(Vec::new(), value)]
}

impl Operations {
    async fn text(&self) -> prometheus::Result<String> {
        let page = Page::default();
        self.process(&page);
        self.upstreams(&page);
        self.databases(&page);
        self.logs(&page);
        self.samples(&page).await;
        let mut families = self.gateway.metrics.gather();
        families.extend(page.registry.gather());
        TextEncoder::new().encode_to_string(&families)
    }

    fn process(&self, page: &Page) {
        let app = &self.gateway.app;
        page.gauge(
            "banyan_build_info",
            "1; the labels say which program this is.",
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        );
        let up = |up: bool| f64::from(u8::from(up));
        page.gauge(
            "banyan_module_up",
            "Does the module run in this process?",
            app.slots()
                .iter()
                .map(|slot| (vec![("module", slot.name())], up(slot.is_up()))),
        );
        page.counter(
            "banyan_http_requests_refused_total",
            "Requests that a limit of the edge has refused.",
            self.gateway
                .refused()
                .map(|(limit, n)| (vec![("limit", limit)], n as f64)),
        );
        page.gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
            one(self.started.0),
        );
        let now = app.world.now().unix_timestamp_nanos() as f64 / 1e9;
        page.gauge(
            "banyan_uptime_seconds",
            "How long the process has run.",
            one((now - self.started.0).max(0.0)),
        );
        let usage = Usage::now();
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory.",
            usage.resident_bytes.into_iter().flat_map(one),
        );
        page.counter(
            "process_cpu_seconds_total",
            "Processor time, in user and in system mode.",
            usage.cpu_seconds.into_iter().flat_map(one),
        );
        page.gauge(
            "process_open_fds",
            "Open file descriptors.",
            usage.open_fds.into_iter().flat_map(one),
        );
    }

    fn upstreams(&self, page: &Page) {
        let upstreams: Vec<_> = self.gateway.upstreams().collect();
        let each = || {
            upstreams.iter().flat_map(|(name, state)| {
                let addresses = state.addresses.iter();
                addresses.map(move |address| {
                    let labels = vec![("upstream", &**name), ("address", &*address.at)];
                    (labels, address)
                })
            })
        };
        let up = |up: bool| f64::from(u8::from(up));
        page.gauge(
            "banyan_upstream_address_up",
            "Does the address take requests?",
            each().map(|(labels, address)| (labels, up(address.up))),
        );
        page.gauge(
            "banyan_upstream_breaker_open",
            "Is the address left alone, or on trial, after failures?",
            each().map(|(labels, address)| (labels, up(address.open))),
        );
        page.counter(
            "banyan_upstream_requests_total",
            "Requests that were sent to the address.",
            each().map(|(labels, address)| (labels, address.requests as f64)),
        );
        page.counter(
            "banyan_upstream_failures_total",
            "Those of them that failed: no connection, no answer in time, or 502 to 504.",
            each().map(|(labels, address)| (labels, address.failures as f64)),
        );
        let of = |state: fn(&upstream::State) -> usize| {
            let each = upstreams.iter();
            each.map(move |(name, all)| (vec![("upstream", &**name)], state(all) as f64))
        };
        page.gauge(
            "banyan_upstream_requests_in_flight",
            "Requests that are being answered there.",
            of(|state| state.in_flight),
        );
        page.gauge(
            "banyan_upstream_upgraded_connections",
            "Connections that have changed their protocol.",
            of(|state| state.upgraded),
        );
    }

    fn databases(&self, page: &Page) {
        let dbs = self.gateway.app.slots().iter();
        let dbs: Vec<_> = dbs
            .filter_map(|slot| Some((slot.name(), slot.db()?)))
            .collect();
        let pools = || {
            dbs.iter().flat_map(|(module, db)| {
                [("requests", db.pool()), ("bus", db.bus_pool())]
                    .map(|(kind, pool)| (vec![("module", *module), ("pool", kind)], pool))
            })
        };
        page.gauge(
            "banyan_database_connections_in_use",
            "Connections that somebody works with.",
            pools().map(|(labels, pool)| {
                let used = (pool.size() as usize).saturating_sub(pool.num_idle());
                (labels, used as f64)
            }),
        );
        page.gauge(
            "banyan_database_connections_open",
            "Connections to the module's database.",
            pools().map(|(labels, pool)| (labels, f64::from(pool.size()))),
        );
        page.gauge(
            "banyan_database_connections_max",
            "As many as there may be.",
            pools().map(|(labels, pool)| (labels, f64::from(pool.options().get_max_connections()))),
        );
    }

    fn logs(&self, page: &Page) {
        let logs = &self.gateway.app.logs;
        page.gauge(
            "banyan_log_buffer_records",
            "Log records that wait in memory to be stored.",
            one(logs.len() as f64),
        );
        page.counter(
            "banyan_log_buffer_dropped_total",
            "Log records that were dropped because too many waited.",
            one(logs.dropped_total() as f64),
        );
        let Some(shipped) = &self.shipped else { return };
        page.counter(
            "banyan_log_shipped_total",
            "Log records that the process of logging has taken.",
            one(shipped.shipped() as f64),
        );
        page.counter(
            "banyan_log_ship_dropped_total",
            "Log records that were dropped on their way there.",
            one(shipped.dropped() as f64),
        );
        page.gauge(
            "banyan_log_ship_failures",
            "Attempts that failed since the last that did not.",
            one(shipped.failures() as f64),
        );
        page.gauge(
            "banyan_log_spool_bytes",
            "Log records that wait on disk.",
            one(shipped.spooled_bytes() as f64),
        );
        page.counter(
            "banyan_log_spool_unreadable_total",
            "Files of that queue that could not be read and were set aside.",
            one(shipped.unreadable() as f64),
        );
    }

    async fn samples(&self, page: &Page) {
        let sample = self.samples.latest(&self.gateway.app).await;
        let outboxes = sample.lags.iter().filter(|lag| lag.is_outbox());
        page.gauge(
            "banyan_outbox_age_seconds",
            "How long the oldest event waits to enter its module's log; 0 when none does.",
            outboxes.map(|lag| {
                (
                    vec![("module", &*lag.module)],
                    lag.oldest_seconds.unwrap_or_default(),
                )
            }),
        );
        let each = || {
            let subscriptions = sample.lags.iter().filter(|lag| !lag.is_outbox());
            subscriptions.map(|lag| {
                (
                    vec![("module", &*lag.module), ("subscription", &*lag.stage)],
                    lag,
                )
            })
        };
        page.gauge(
            "banyan_subscription_lag_seconds",
            "How long the oldest event waits that the subscription has not handled; 0 when none does.",
            each().map(|(labels, lag)| (labels, lag.oldest_seconds.unwrap_or_default())),
        );
        page.gauge(
            "banyan_subscription_parked_keys",
            "Subjects that wait for a person.",
            each().map(|(labels, lag)| (labels, lag.parked as f64)),
        );
        page.gauge(
            "banyan_subscription_beyond_log_events",
            "By how much it stands beyond the end of its publisher's log: not 0 when that was set back.",
            each().map(|(labels, lag)| (labels, lag.beyond as f64)),
        );
        page.gauge(
            "banyan_stages_unknown",
            "Stages and records of jobs that could not be asked: the database or the broker is away.",
            one(sample.unknown as f64),
        );
        let runs = || {
            let modules = sample.jobs.iter();
            modules.flat_map(|(module, runs)| {
                runs.iter()
                    .map(|run| (vec![("module", *module), ("job", &*run.job)], run))
            })
        };
        page.gauge(
            "banyan_job_last_success_timestamp_seconds",
            "When the job last ended well, on any instance; absent if its last run failed.",
            runs()
                .filter(|(_, run)| !run.failed)
                .map(|(labels, run)| (labels, run.finished_at)),
        );
        page.gauge(
            "banyan_job_failed",
            "Did its last run fail?",
            runs().map(|(labels, run)| (labels, f64::from(u8::from(run.failed)))),
        );
    }
}
