//! Programs that the bench starts, and what they take of the machine.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// On a machine that is busy with other work, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that ends with the bench.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// What it says goes to `log`.
    pub fn start(command: &mut Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} starts", command.get_program().display()))?;
        Ok(Self { child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers a path with 200 and a text that will do.
    pub async fn answers(
        &mut self,
        url: &str,
        will_do: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let http = reqwest::Client::new();
        let started = Instant::now();
        loop {
            if let Ok(answer) = http.get(url).send().await
                && answer.status() == 200
                && answer.text().await.is_ok_and(|text| will_do(&text))
            {
                return Ok(());
            }
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            ensure!(self.child.try_wait()?.is_none(), "it ended: {}", log());
            ensure!(
                started.elapsed() < PATIENCE,
                "no good answer at {url}: {}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Program {
    /// SIGTERM, which what it has started itself outlives by no more than it does.
    fn drop(&mut self) {
        let pid = self.pid().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

/// Addresses on loopback that were free a moment ago.
pub fn free_addresses<const N: usize>() -> [String; N] {
    std::array::from_fn(|_| format!("127.0.0.1:{}", nats_server::free_port()))
}

/// The real program, beside the bench.
pub fn banyan() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("banyan"))
}

/// What a process holds in memory, in MiB.
pub fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1_024.0)
}

/// Seconds of CPU that a process and its children have taken so far.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let own = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(own)?;
    let children = children.split_whitespace().map(str::parse::<u32>);
    let mut sum = cpu_seconds_of(Path::new(&format!("/proc/{pid}/stat")))?;
    for child in children {
        sum += cpu_seconds_of(Path::new(&format!("/proc/{}/stat", child?)))?;
    }
    Ok(sum)
}

fn cpu_seconds_of(stat: &Path) -> anyhow::Result<f64> {
    /// Of the clock that Linux counts in for programs (`getconf CLK_TCK`), everywhere.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string(stat)?;
    // proc(5): the fields after the name, which may have anything in it; utime is the 14th of all.
    let (_, fields) = text.rsplit_once(')').context("a name in brackets")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()
            .context("utime and stime")?
            .parse::<f64>()
            .map_err(anyhow::Error::from)
    };
    Ok((ticks()? + ticks()?) / TICKS_PER_SECOND)
}
