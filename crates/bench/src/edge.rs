//! A hop over the edge, against one over nginx to the same service.

use std::time::Duration;

use crate::{
    Place, http, nginx,
    program::{cpu_seconds, free_addresses},
    split::Split,
    table::{Table, median, quantile},
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 32;
/// Far from what any of them can do: what is added to a request that waits for no other.
const CALM_PER_SECOND: u32 = 1_000;
const CALM_CONNECTIONS: u32 = 16;

/// One way to the service, and what a round of it came to.
struct Way {
    name: &'static str,
    address: String,
    request: String,
    /// None for the service itself.
    pid: Option<u32>,
    rates: Vec<f64>,
    cpu_micros: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, address: &str, request: String, pid: Option<u32>) -> Self {
        Self {
            name,
            address: address.to_owned(),
            request,
            pid,
            rates: Vec::new(),
            cpu_micros: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
        }
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.pid {
            let before = cpu_seconds(pid)?;
            let rate = http::rate(&self.address, &self.request, CONNECTIONS, ROUND).await?;
            let cpu = cpu_seconds(pid)? - before;
            self.cpu_micros
                .push(cpu * 1e6 / (rate * ROUND.as_secs_f64()));
            self.rates.push(rate);
        }
        let calm = (CALM_CONNECTIONS, CALM_PER_SECOND, ROUND);
        let millis = http::latencies(&self.address, &self.request, calm.0, calm.1, calm.2).await?;
        self.p50.push(quantile(&millis, 0.5));
        self.p99.push(quantile(&millis, 0.99));
        Ok(())
    }
}

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let [service_at, nginx_at] = free_addresses();
    let folder = place.folder.join("edge");
    let _service = nginx::service(&folder.join("service"), &service_at).await?;
    let nginx = nginx::proxy(&folder.join("nginx"), &nginx_at, &service_at).await?;
    let route = |name: &str, rules: &str| {
        format!(
            "[[gateway.routes]]\nname = {name:?}\nprefix = \"/{name}\"\n\
             upstream = {{ at = \"http://{service_at}\" }}\n{rules}\n"
        )
    };
    let routes = [
        route("open", "public = true"),
        // A limit that counts and never refuses.
        route(
            "closed",
            "require_scope = \"bench\"\nrequests_per_minute = 1_000_000_000",
        ),
    ];
    let split = Split::start(folder.join("split"), &["identity"], &routes.concat()).await?;
    let token = split.token("bench").await?;

    let pid = Some(split.gateway_pid());
    let get = |path| http::get(path, None);
    let mut ways = [
        Way::new("", &service_at, get("/"), None),
        Way::new("nginx", &nginx_at, get("/"), Some(nginx.pid())),
        Way::new("public", &split.address, get("/open/"), pid),
        Way::new(
            "token and rate checked",
            &split.address,
            http::get("/closed/", Some(&token)),
            pid,
        ),
    ];
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.round().await?;
        }
    }
    let [direct, nginx, ours @ ..] = &ways;
    for (way, aim) in ours.iter().zip([0.7, 0.5]) {
        let what = format!("edge, {}: requests, of nginx proxy_pass", way.name);
        table.ratio(&what, "/s", &way.rates, &nginx.rates, Some(aim));
    }
    // Round by round, for the machine may have other work in some of them.
    let added = |way: &Way, of: fn(&Way) -> &[f64]| {
        let rounds = of(way).iter().zip(of(direct));
        let micros: Vec<f64> = rounds.map(|(on, off)| (on - off) * 1_000.0).collect();
        median(&micros)
    };
    for way in [&ways[1], &ways[2], &ways[3]] {
        let what = format!("edge, {}: added at 1,000/s,", way.name);
        table.figure(&format!("{what} p50"), added(way, |w| &w.p50), "µs", None);
        table.figure(&format!("{what} p99"), added(way, |w| &w.p99), "µs", None);
        let what = format!("edge, {}: CPU of a request", way.name);
        table.figure(&what, median(&way.cpu_micros), "µs", None);
    }
    Ok(())
}
