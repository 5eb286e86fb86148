//! Values of each contestant by round, and the rows that are made of them.

use crate::report::{Pair, Report, Target};

#[derive(Default)]
pub struct Table(Vec<(String, Vec<f64>)>);

impl Table {
    /// The value of the next round.
    pub fn push(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    fn get(&self, name: &str) -> Option<&[f64]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, values)| values.as_slice())
    }
}

/// Where the rows go.
pub struct Rows<'a> {
    pub case: &'a str,
    /// What was done, before the names.
    pub what: &'a str,
    pub unit: &'a str,
    pub table: &'a Table,
    pub report: &'a mut Report,
}

impl Rows<'_> {
    /// The one beside the other, if both took part.
    pub fn row(&mut self, value: &str, beside: &str, target: Target) {
        let (Some(values), Some(besides)) = (self.table.get(value), self.table.get(beside)) else {
            return;
        };
        let mut pair = Pair::default();
        for (value, beside) in values.iter().zip(besides) {
            pair.push(*value, *beside);
        }
        self.put(value, beside, &pair, target);
    }

    /// Beside a figure that is the same in every round.
    pub fn limit(&mut self, value: &str, limit: f64, name: &str, target: Target) {
        let Some(values) = self.table.get(value) else { return };
        let mut pair = Pair::default();
        for value in values {
            pair.push(*value, limit);
        }
        self.put(value, name, &pair, target);
    }

    fn put(&mut self, value: &str, beside: &str, pair: &Pair, target: Target) {
        let comma = if self.what.is_empty() { "" } else { ": " };
        let what = format!("{}{comma}{value} / {beside}", self.what);
        self.report.row(self.case, &what, self.unit, pair, target);
    }
}
