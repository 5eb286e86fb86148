//! One case: everything that must be known to run it again, as a short string.

use std::fmt;

use super::super::fault::{Effect, FaultKind};
use super::super::pick::Pick;

/// A sequence, a fault perhaps, and the crashes that followed each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) model: usize,
    pub(super) start: usize,
    pub(super) ops: Vec<usize>,
    pub(super) fault: Option<Strike>,
    pub(super) crashes: Vec<CrashAt>,
}

/// A fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) call: u64,
    pub(super) kind: FaultKind,
    pub(super) effect: Effect,
    pub(super) lasting: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CrashAt {
    /// After this call of the life.
    pub(super) call: u64,
    /// After this many events of its ledger.
    pub(super) events: usize,
    pub(super) how: HowCrashed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HowCrashed {
    Kill,
    /// Within the write that follows, after so many of its bytes.
    KillInside(usize),
    Power(Pick),
}

impl Strike {
    const EFFECTS: [(&'static str, Effect); 3] =
        [("none", Effect::None), ("prefix", Effect::Prefix), ("whole", Effect::Whole)];

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let call = parts.next()?.parse().ok()?;
        let kind = FaultKind::from_name(parts.next()?)?;
        let effect = parts.next()?;
        let effect = Self::EFFECTS.iter().find(|(name, _)| *name == effect)?.1;
        Some(Self { call, kind, effect, lasting: parts.next()? == "lasting" })
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = Self::EFFECTS.iter().find(|(_, effect)| *effect == self.effect);
        let effect = effect.map_or("none", |(name, _)| name);
        let lasting = if self.lasting { "lasting" } else { "once" };
        write!(f, "{},{},{effect},{lasting}", self.call, self.kind)
    }
}

impl CrashAt {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let call = parts.next()?.parse().ok()?;
        let events = parts.next()?.parse().ok()?;
        let how = parts.next()?;
        let how = match how.strip_prefix('k') {
            Some("") => HowCrashed::Kill,
            Some(bytes) => HowCrashed::KillInside(bytes.parse().ok()?),
            None => HowCrashed::Power(how.parse().ok()?),
        };
        Some(Self { call, events, how })
    }
}

impl fmt::Display for CrashAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},", self.call, self.events)?;
        match &self.how {
            HowCrashed::Kill => f.write_str("k"),
            HowCrashed::KillInside(bytes) => write!(f, "k{bytes}"),
            HowCrashed::Power(pick) => write!(f, "{pick}"),
        }
    }
}

impl Case {
    /// The name as it stands in the string.
    pub(super) fn plain_name(name: &str) -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(':');
        let name = parts.next()?.to_owned();
        let seed = parts.next()?.parse().ok()?;
        let model = parts.next()?.parse().ok()?;
        let start = parts.next()?.parse().ok()?;
        let ops = parts.next()?.split('.').filter(|op| !op.is_empty());
        let ops = ops.map(str::parse).collect::<Result<_, _>>().ok()?;
        let fault = match parts.next()? {
            "" => None,
            text => Some(Strike::parse(text)?),
        };
        let crashes = parts.map(CrashAt::parse).collect::<Option<_>>()?;
        Some(Self { name, seed, model, start, ops, fault, crashes })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::plain_name(&self.name);
        let ops: Vec<String> = self.ops.iter().map(ToString::to_string).collect();
        write!(f, "{name}:{}:{}:{}:{}:", self.seed, self.model, self.start, ops.join("."))?;
        if let Some(strike) = &self.fault {
            write!(f, "{strike}")?;
        }
        for crash in &self.crashes {
            write!(f, ":{crash}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_prints_and_parses() {
        for text in [
            "log:7:3:0:1.2.2:::",
            "a-b:0:0:1::12,eio,prefix,lasting:14,3,k:9,4,k100:16,4,n1x3.0u2.0x4",
        ] {
            let text = text.trim_end_matches(':').to_owned()
                + if text.ends_with(":::") { ":" } else { "" };
            let case = Case::parse(&text).unwrap();
            assert_eq!(case.to_string(), text);
            assert_eq!(Case::parse(&case.to_string()), Some(case));
        }
        assert_eq!(Case::parse("log:7:3"), None);
    }
}
