//! What the operating system knows of this process, as Linux tells it.

use std::fs;

use kernel::World;

/// Of `utime` and `stime` in /proc/self/stat: USER_HZ, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process started, seconds since 1970.
pub struct Started(pub f64);

impl Started {
    pub fn now(world: &World) -> Self {
        Self(world.now().unix_timestamp_nanos() as f64 / 1e9)
    }
}

/// Nothing of what cannot be read: elsewhere than on Linux, all of it.
#[derive(Debug, Default)]
pub struct Usage {
    pub resident_bytes: Option<f64>,
    pub cpu_seconds: Option<f64>,
    pub open_fds: Option<f64>,
}

impl Usage {
    pub fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let open_fds = fs::read_dir("/proc/self/fd").ok();
        Self {
            resident_bytes: read("status").and_then(|status| resident_bytes(&status)),
            cpu_seconds: read("stat").and_then(|stat| cpu_seconds(&stat)),
            open_fds: open_fds.map(|fds| fds.count() as f64),
        }
    }
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// The 14th and 15th field (proc(5)); the second, a name in parentheses, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.filter_map(|field| field.parse().ok()).collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a)"), None);
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t  12 kB\n"),
            Some(12_288.0)
        );
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
