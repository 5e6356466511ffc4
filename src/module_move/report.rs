//! What is told to the operator: before, and after.

use std::time::Duration;

use url::Url;

use super::{copy::Copied, end::place_name};
use crate::places::Places;

/// How long each step took.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    pub fn took(&mut self, step: &'static str, time: Duration) {
        eprintln!("{step}: {}", seconds(time));
        self.0.push((step, time));
    }
}

/// What was copied, table by table, and how long each step took.
pub(super) fn print(copied: &[Copied], steps: &Steps, downtime: Duration) {
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    let size: u64 = copied.iter().map(|table| table.bytes).sum();
    let took: Duration = copied.iter().map(|table| table.took).sum();
    println!(
        "{:<44} {:>13} {:>10} {:>9}",
        "table", "rows", "size", "time"
    );
    let line = |name: &str, rows, size, took| {
        let (rows, size, took) = (number(rows), bytes(size), seconds(took));
        println!("{name:<44} {rows:>13} {size:>10} {took:>9}");
    };
    for table in copied {
        line(&table.table, table.rows, table.bytes, table.took);
    }
    line("together", rows, size, took);
    println!("\n{:<44} {:>34}", "step", "time");
    for (step, took) in &steps.0 {
        println!("{step:<44} {:>34}", seconds(*took));
    }
    let label = "neither database served the module";
    println!("{label:<44} {:>34}", seconds(downtime));
}

/// What is left for the operator to do.
pub(super) fn print_configuration(module: &str, to: &str, places: &Places) {
    let key = format!("modules.{module}.database_url");
    println!("\nChange the configuration of every process that hosts {module}:\n");
    match to {
        "" => println!("    take {key} away: the database of [database] is its place again"),
        to => println!(
            "    [modules.{module}]\n    database_url = \"{}\"",
            shown(to, places, module)
        ),
    }
    println!(
        "\n(In the environment: BANYAN__MODULES__{}__DATABASE_URL.) A running process that has it from \
         a file takes\nit up by itself within seconds; one that has it from its environment, or is to \
         return to an embedded\ndatabase that it did not open, is restarted. Until then it answers 503 \
         for {module}, and for nothing else.",
        module.to_uppercase()
    );
}

/// Without a password: the roles have theirs from database.role_secret.
fn shown(url: &str, places: &Places, module: &str) -> String {
    let Ok(mut parsed) = url.parse::<Url>() else {
        return format!("postgres://{}", place_name(&places.owner(module)));
    };
    // A URL without a host, for a socket, has neither.
    if parsed.set_password(None).is_ok() {
        let _ = parsed.set_username("");
    }
    parsed.to_string()
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// 1234567 as 1,234,567.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(|g| String::from_utf8_lossy(g)).collect();
    groups.join(",")
}

pub(super) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (plain, wanted) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(plain), wanted);
        }
        for (plain, wanted) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(plain), wanted);
        }
    }
}
