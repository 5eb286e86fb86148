//! The table, or the object: each ratio with its target, the absolute figures only beside it.

use std::time::Duration;

use crate::measure::{median, quantile};

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Shown only.
    None,
}

impl Target {
    fn reached(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtLeast(limit) => Some(ratio >= limit),
            Self::AtMost(limit) => Some(ratio <= limit),
            Self::None => None,
        }
    }
}

/// A measured value and what it is compared with, of each round.
#[derive(Debug, Default)]
pub struct Pair {
    values: Vec<f64>,
    beside: Vec<f64>,
}

impl Pair {
    pub fn push(&mut self, value: f64, beside: f64) {
        self.values.push(value);
        self.beside.push(beside);
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The least, the median and the greatest of the rounds' ratios.
    fn ratios(&self) -> [f64; 3] {
        let ratios: Vec<f64> = self.values.iter().zip(&self.beside).map(|(v, b)| v / b).collect();
        [0.0, 0.5, 1.0].map(|share| quantile(&ratios, share))
    }
}

#[derive(Debug)]
pub struct Report {
    json: bool,
    rounds: usize,
    quick: bool,
    rows: Vec<String>,
    missed: usize,
    reached: usize,
}

impl Report {
    pub fn new(json: bool, rounds: usize, quick: bool) -> Self {
        Self { json, rounds, quick, rows: Vec::new(), missed: 0, reached: 0 }
    }

    pub fn begin(&self) {
        if !self.json {
            println!(
                "{:<15}{:<52}{:>9}  {:<16}{:<9}{:<9}absolute (beside)",
                "case", "what / beside what", "ratio", "least..most", "target", ""
            );
        }
    }

    /// A line: `value / beside`, median over the rounds.
    pub fn row(&mut self, case: &str, what: &str, unit: &str, pair: &Pair, target: Target) {
        let [least, ratio, most] = pair.ratios();
        let verdict = match target.reached(ratio) {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "",
        };
        self.reached += usize::from(verdict == "reached");
        self.missed += usize::from(verdict == "missed");
        let (value, beside) = (median(&pair.values), median(&pair.beside));
        if self.json {
            let target = match target {
                Target::AtLeast(limit) => format!("\">= {limit}\""),
                Target::AtMost(limit) => format!("\"<= {limit}\""),
                Target::None => "null".to_owned(),
            };
            let reached = target_json(verdict);
            self.rows.push(format!(
                "{{\"case\":\"{case}\",\"what\":\"{what}\",\"ratio\":{ratio:.4},\"least\":{least:.4},\
                 \"most\":{most:.4},\"target\":{target},\"reached\":{reached},\"unit\":\"{unit}\",\"value\":{value:.4},\"beside\":{beside:.4}}}"
            ));
            return;
        }
        let target = match target {
            Target::AtLeast(limit) => format!(">= {limit}"),
            Target::AtMost(limit) => format!("<= {limit}"),
            Target::None => String::new(),
        };
        let (value, beside) = (figure(value), figure(beside));
        println!(
            "{case:<15}{what:<52}{:>9}  {:<16}{target:<9}{verdict:<9}{value} ({beside}) {unit}",
            figure(ratio),
            format!("{}..{}", figure(least), figure(most))
        );
    }

    pub fn end(&self, took: Duration) {
        let Self { rounds, quick, reached, missed, .. } = self;
        let seconds = took.as_secs_f64();
        if self.json {
            println!(
                "{{\"schema\":\"untorn.bench.v1\",\"rounds\":{rounds},\"quick\":{quick},\"seconds\":{seconds:.1},\
                 \"reached\":{reached},\"missed\":{missed},\"rows\":[{}]}}",
                self.rows.join(",")
            );
        } else {
            println!(
                "{reached} targets reached, {missed} missed; medians of {rounds} rounds, {seconds:.0} s"
            );
        }
    }
}

fn target_json(verdict: &str) -> &'static str {
    match verdict {
        "reached" => "true",
        "missed" => "false",
        _ => "null",
    }
}

/// Three digits or so.
fn figure(value: f64) -> String {
    match value.abs() {
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        a if a >= 0.01 || a == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}
