//! A state to write to snapshots: accounts of some 160 bytes, by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub number: u64,
    pub balance: i64,
    pub owner: String,
    pub notes: Vec<String>,
}

pub type Accounts = BTreeMap<String, Account>;

/// Accounts whose bytes, by `size`, are about so many.
pub fn accounts(bytes: usize, size: impl Fn(&Accounts) -> usize) -> Accounts {
    let sample = 1000;
    let count = bytes * sample / size(&some(sample)).max(1);
    some(count)
}

fn some(count: usize) -> Accounts {
    let account = |n: usize| Account {
        number: n as u64 * 7919,
        balance: n as i64 * 31 - 1_000_000,
        owner: format!("owner of account {n:08}"),
        notes: vec![format!("opened as number {n}"), "a note of some length on it".to_owned()],
    };
    (0..count).map(|n| (format!("account-{n:010}"), account(n))).collect()
}
