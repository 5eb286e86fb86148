//! The explorer over our own stores: no violation as they are, and one for each sync that is left out.

use untorn::fs::SyncSite;
use untorn::proof::{Plan, Store, explore};

#[track_caller]
fn check(store: Store, states: u64) {
    match explore(store, &Plan::new().states(states), |_| {}) {
        Ok(outcome) => println!("{}: {outcome:?}", store.name()),
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn the_log_survives_every_crash() {
    check(Store::Log, 300_000);
}

#[test]
fn files_survive_every_crash() {
    check(Store::File, 300_000);
}

#[test]
fn every_sync_has_a_reason() {
    let mut needless = Vec::new();
    for site in SyncSite::ALL {
        let plan = Plan::new().states(100_000).without_sync(site);
        let caught = Store::ALL.into_iter().find_map(|store| explore(store, &plan, |_| {}).err());
        match caught {
            Some(violation) => println!("{}: {}", site.name(), violation.message),
            None => needless.push(site.name()),
        }
    }
    assert!(needless.is_empty(), "nobody notices without {needless:?}");
}
