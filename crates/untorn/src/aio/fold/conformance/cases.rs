//! The cases.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::source::{Anchor, AnchorState, Scope, SourceEvent, Start};
use super::take::{Values, apply, list, open, take};
use super::{Fixture, check};
use crate::fold::protocol::gap_free;
use crate::fold::{CursorOrder, KvUpdate, WatchCursor};
use crate::{ErrorKind, Result};

/// Some history: overwritten, deleted, put again.
async fn write(fixture: &mut impl Fixture) -> Values {
    fixture.put("a", b"1").await;
    fixture.put("b.x", b"2").await;
    fixture.put("a", b"3").await;
    fixture.delete("b.x").await;
    fixture.put("b.y", b"4").await;
    fixture.put("c", b"5").await;
    fixture.delete("c").await;
    fixture.put("c", b"6").await;
    values(&[("a", "3"), ("b.y", "4"), ("c", "6")])
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn same(case: &str, found: &Values, expected: &Values) -> Result<()> {
    check(found == expected, || format!("{case}: {found:?}, and {expected:?} was written"))
}

pub(super) async fn an_empty_source_is_caught_up_at_once(fixture: &mut impl Fixture) -> Result<()> {
    let mut source = fixture.source();
    let taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    check(taken.updates.is_empty(), || "an empty source sends updates".to_owned())
}

pub(super) async fn a_fresh_start_sends_what_is_there(fixture: &mut impl Fixture) -> Result<()> {
    let expected = write(fixture).await;
    let taken = take(&mut *fixture.source(), Start::Fresh, &Scope::All).await?;
    same("a fresh start", &taken.values(), &expected)?;
    check(!taken.cursor.is_none(), || "a source with messages is at no position".to_owned())
}

pub(super) async fn what_comes_later_is_sent(fixture: &mut impl Fixture) -> Result<()> {
    let mut expected = write(fixture).await;
    let mut source = fixture.source();
    let mut taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    for value in ["7", "8"] {
        fixture.put("d", value.as_bytes()).await;
        let before = taken.updates.len();
        while taken.updates.len() == before {
            taken.next(&mut *source).await?;
        }
        expected.insert("d".to_owned(), value.into());
        same("what comes later", &taken.values(), &expected)?;
    }
    Ok(())
}

pub(super) async fn a_start_behind_any_position_sends_the_rest(
    fixture: &mut impl Fixture,
) -> Result<()> {
    let mut source = fixture.source();
    let mut taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    let expected = write(fixture).await;
    while taken.values() != expected {
        taken.next(&mut *source).await?;
    }
    source.close().await;
    for (at, cursor) in taken.cursors.iter().enumerate() {
        // A cursor is behind the whole batch.
        let next = taken.cursors.get(at.saturating_add(1));
        if next.is_some_and(|next| next.same_position(cursor)) {
            continue;
        }
        let before = taken.updates.get(..=at).unwrap_or_default();
        let rest = take(&mut *source, Start::After(cursor.clone()), &Scope::All).await?;
        let mut found = Values::new();
        apply(&mut found, before);
        apply(&mut found, &rest.updates);
        same(&format!("a start behind {cursor}"), &found, &expected)?;
        let again = rest.updates.iter().find(|update| before.contains(update));
        check(again.is_none(), || format!("a start behind {cursor} repeats {again:?}"))?;
        source.close().await;
    }
    Ok(())
}

pub(super) async fn a_scope_is_plain_prefixes(fixture: &mut impl Fixture) -> Result<()> {
    for key in ["app.con", "app.config", "app.x", "apple", "b"] {
        fixture.put(key, b"1").await;
    }
    let prefixes = |list: &[&str]| Scope::Prefixes(list.iter().map(|p| (*p).to_owned()).collect());
    let cases: [(Scope, &[&str]); 5] = [
        (Scope::Prefix("app.con".to_owned()), &["app.con", "app.config"]),
        (Scope::Prefix("app".to_owned()), &["app.con", "app.config", "app.x", "apple"]),
        (Scope::Prefix(String::new()), &["app.con", "app.config", "app.x", "apple", "b"]),
        (prefixes(&["b", "app.x", "b"]), &["app.x", "b"]),
        (Scope::Prefix("none".to_owned()), &[]),
    ];
    for (scope, expected) in cases {
        let mut source = fixture.source();
        let expected = values(&expected.iter().map(|key| (*key, "1")).collect::<Vec<_>>());
        let taken = take(&mut *source, Start::Fresh, &scope).await?;
        same(&format!("{scope:?}"), &taken.values(), &expected)?;
        if let Some((updates, _)) = list(&mut *source, &scope, false).await? {
            let mut found = Values::new();
            apply(&mut found, &updates);
            same(&format!("a listing of {scope:?}"), &found, &expected)?;
        }
    }
    Ok(())
}

pub(super) async fn values_come_as_they_are(fixture: &mut impl Fixture) -> Result<()> {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let mut expected = Values::new();
    for (key, value) in [("empty", Vec::new()), ("bytes", bytes), ("large", vec![7; 300_000])] {
        fixture.put(key, &value).await;
        expected.insert(key.to_owned(), value);
    }
    let taken = take(&mut *fixture.source(), Start::Fresh, &Scope::All).await?;
    same("values", &taken.values(), &expected)
}

pub(super) async fn versions_grow_with_the_cursor(fixture: &mut impl Fixture) -> Result<()> {
    let mut source = fixture.source();
    let order = source.identify().await?.order;
    let mut taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    let expected = write(fixture).await;
    while taken.values() != expected {
        taken.next(&mut *source).await?;
    }
    let mut latest: BTreeMap<&str, &KvUpdate> = BTreeMap::new();
    for (update, cursor) in taken.updates.iter().zip(&taken.cursors) {
        let version = WatchCursor::from_version(update.version().clone());
        if order == CursorOrder::Bytes && !version.is_none() {
            check(cursor.reaches(&version, order), || {
                format!("the version {version} is ahead of the cursor {cursor}")
            })?;
        }
        if let Some(old) = latest.insert(update.key(), update) {
            let newer = order.newer(update.version().as_bytes(), old.version().as_bytes());
            check(newer != Some(false), || format!("{update:?} follows {old:?}"))?;
        }
    }
    Ok(())
}

pub(super) async fn a_listing_is_what_is_there(fixture: &mut impl Fixture) -> Result<()> {
    let expected = write(fixture).await;
    let mut source = fixture.source();
    let Some((updates, end)) = list(&mut *source, &Scope::All, false).await? else { return Ok(()) };
    let mut found = Values::new();
    apply(&mut found, &updates);
    same("a listing", &found, &expected)?;
    let deletion = updates.iter().find(|update| update.value().is_none());
    check(deletion.is_none(), || format!("a listing has {deletion:?}"))?;
    let keys = list(&mut *source, &Scope::All, true).await?.unwrap_or_default().0;
    let mut keys: Vec<&str> = keys.iter().map(KvUpdate::key).collect();
    keys.sort_unstable();
    keys.dedup();
    check(keys.iter().eq(expected.keys()), || format!("a listing of keys has {keys:?}"))?;
    let rest = take(&mut *source, Start::After(end), &Scope::All).await?;
    check(rest.updates.is_empty(), || format!("a listing missed {:?}", rest.updates))
}

pub(super) async fn a_dropped_call_loses_nothing(fixture: &mut impl Fixture) -> Result<()> {
    let mut source = fixture.source();
    let taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    // Waits, and is dropped.
    let waited = tokio::time::timeout(Duration::from_millis(50), source.next()).await;
    if let Ok(Ok(SourceEvent::Batch { updates, .. })) = &waited {
        check(false, || format!("an empty source sends {updates:?}"))?;
    }
    drop(waited);
    source.close().await;
    let expected = write(fixture).await;
    let start = if taken.cursor.is_none() { Start::Fresh } else { Start::After(taken.cursor) };
    let taken = take(&mut *source, start, &Scope::All).await?;
    same("after a dropped call", &taken.values(), &expected)
}

pub(super) async fn closing_is_harmless(fixture: &mut impl Fixture) -> Result<()> {
    let expected = write(fixture).await;
    let mut source = fixture.source();
    source.close().await;
    for _ in 0..3 {
        let taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
        same("after a close", &taken.values(), &expected)?;
        source.close().await;
        source.close().await;
    }
    Ok(())
}

pub(super) async fn silence_has_signs_of_life(fixture: &mut impl Fixture) -> Result<()> {
    write(fixture).await;
    let mut source = fixture.source();
    let mut taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    let before = taken.signs;
    taken.next(&mut *source).await?;
    check(taken.signs > before, || "silence, and no `Progress`".to_owned())
}

pub(super) async fn it_is_known_again(fixture: &mut impl Fixture) -> Result<()> {
    write(fixture).await;
    let (mut one, mut other) = (fixture.source(), fixture.source());
    let taken = take(&mut *one, Start::Fresh, &Scope::All).await?;
    let (info, again) = (one.identify().await?, other.identify().await?);
    check(info.lineage == again.lineage, || "two sources of one stream are two".to_owned())?;
    let kind = info.lineage.kind.len();
    check((1..=64).contains(&kind), || "the kind of a lineage has 1 to 64 bytes".to_owned())?;
    check(info.lineage.id.len() <= 1024, || "the id of a lineage is too long".to_owned())?;
    let behind = info.head.is_some_and(|head| !head.reaches(&taken.cursor, info.order));
    check(!behind || info.order == CursorOrder::Opaque, || "the head is behind".to_owned())?;
    let Some(mut anchor) = Anchor::of(&taken.cursor) else { return Ok(()) };
    let state = other.verify_anchor(&anchor).await?;
    check(state != AnchorState::Different, || "its own anchor is not known again".to_owned())?;
    anchor.written_ms = anchor.written_ms.saturating_add(1000);
    let state = other.verify_anchor(&anchor).await?;
    check(state != AnchorState::Same, || "another anchor is taken for its own".to_owned())
}

pub(super) async fn what_went_is_not_passed_over(fixture: &mut impl Fixture) -> Result<()> {
    let mut source = fixture.source();
    fixture.put("a", b"1").await;
    let old = take(&mut *source, Start::Fresh, &Scope::All).await?.cursor;
    source.close().await;
    let expected = write(fixture).await;
    if !fixture.compact().await {
        return Ok(());
    }
    // It is told by the floor, or it refuses to open, or it says so then.
    let info = source.identify().await?;
    let floor = info.floor.and_then(|floor| gap_free(&old, &floor, info.order));
    let expired = match open(&mut *source, Start::After(old), &Scope::All).await {
        Err(error) => error.kind() == ErrorKind::CursorExpired,
        Ok(_) => matches!(source.next().await, Ok(SourceEvent::Expired { .. })),
    };
    check(expired || floor == Some(false), || "what went is passed over".to_owned())?;
    source.close().await;
    let taken = take(&mut *source, Start::Fresh, &Scope::All).await?;
    same("after the history went", &taken.values(), &expected)
}

pub(super) async fn what_was_made_again_is_another_one(fixture: &mut impl Fixture) -> Result<()> {
    write(fixture).await;
    let mut source = fixture.source();
    let before = source.identify().await?.lineage;
    if !fixture.recreate().await {
        return Ok(());
    }
    let after = source.identify().await?.lineage;
    check(before != after, || "what was made again is taken for the one before".to_owned())
}
