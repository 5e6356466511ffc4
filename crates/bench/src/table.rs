//! What was measured, what it is held against, and what we aim at.

#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 5]>,
}

/// What we aim at.
#[derive(Clone, Copy)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {} {unit}", number(bound)),
            Self::AtMost(bound) => format!("≤ {} {unit}", number(bound)),
        }
    }
}

impl Table {
    /// A figure held against a bound.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, aim: Option<Aim>) {
        self.rows.push([
            what.to_owned(),
            format!("{} {unit}", number(value)),
            String::new(),
            aim.map_or_else(String::new, |aim| aim.text(unit)),
            verdict(aim, value),
        ]);
    }

    /// A figure held against its limit: medians of rounds taken by turns.
    pub fn ratio(&mut self, what: &str, unit: &str, ours: &[f64], limit: &[f64], aim: Option<f64>) {
        let (ours, limit) = (median(ours), median(limit));
        let ratio = ours / limit;
        let aim = aim.map(Aim::AtLeast);
        self.rows.push([
            what.to_owned(),
            format!("{} {unit}", number(ours)),
            format!("{ratio:.2} of {}", number(limit)),
            aim.map_or_else(String::new, |aim| aim.text("")),
            verdict(aim, ratio),
        ]);
    }

    pub fn print(&self) {
        let heads = ["", "measured", "of its limit", "aim", ""].map(str::to_owned);
        let all: Vec<_> = std::iter::once(&heads).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|n| {
                all.iter()
                    .map(|row| row[n].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in all {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}

fn verdict(aim: Option<Aim>, value: f64) -> String {
    match aim {
        Some(aim) if aim.is_met_by(value) => "met".to_owned(),
        Some(_) => "MISSED".to_owned(),
        None => String::new(),
    }
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 ≤ at ≤ 1"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * at).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        let digits = format!("{value:.0}");
        let groups = digits.as_bytes().rchunks(3).rev();
        groups
            .map(|g| String::from_utf8_lossy(g).into_owned())
            .collect::<Vec<_>>()
            .join(",")
    } else {
        format!("{value:.2}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    }
}
