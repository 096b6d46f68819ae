//! From single findings to verdicts that do not flap.

use std::sync::Arc;

use tokio::time::Instant;

use crate::endpoint::Verdict;

/// What one check of an endpoint found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It is well.
    Pass,
    /// It could not be asked, or did not answer in time. This may be the network's fault, so it takes
    /// [`Thresholds::unhealthy`] of them in a row.
    Fail(Arc<str>),
    /// It said itself that it is not well. This counts at once.
    Unwell(Arc<str>),
}

/// How many equal findings in a row make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    healthy: u32,
    unhealthy: u32,
}

impl Thresholds {
    /// Passes that make an unhealthy endpoint healthy, and failures that make a healthy one unhealthy. Zero counts as
    /// one.
    #[must_use]
    pub fn new(healthy: u32, unhealthy: u32) -> Self {
        Self { healthy: healthy.max(1), unhealthy: unhealthy.max(1) }
    }

    /// Passes in a row that make an unhealthy endpoint healthy (Envoy's `healthy_threshold`). 2 by default.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        self.healthy
    }

    /// Failures in a row that make a healthy endpoint unhealthy (Envoy's `unhealthy_threshold`). 2 by default.
    #[must_use]
    pub fn unhealthy(&self) -> u32 {
        self.unhealthy
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::new(2, 2)
    }
}

/// Turns the findings about one endpoint into verdicts.
///
/// ```text
///                        pass                      pass (counts back to none)
///   Unknown ─────────────────────────► Passing ◄──────────────────────────┐
///      │                              │      │                            │
///      │ fail, or unwell              │      └─ fail: 1, 2, ... ──────────┘
///      ▼                              ▼
///   Failing ◄─────────────────────────┴ unwell, or `unhealthy` fails in a row
///      │
///      └─ pass: 1, 2, ... `healthy` in a row ──► Passing        (any other finding counts back to none)
/// ```
///
/// The first finding is a verdict at once, either way, so that a new endpoint neither waits for several rounds nor
/// gets calls before it was asked. After that the thresholds of [`Thresholds`] apply. This is what Envoy 1.40 does.
///
/// ```
/// use grpc_balance::health::{Finding, Judge, Thresholds};
/// use tokio::time::Instant;
///
/// let (mut judge, now) = (Judge::new(Thresholds::new(2, 2)), Instant::now());
/// assert!(judge.verdict().is_none(), "nothing is known yet");
/// judge.hear(Finding::Pass, now);
/// judge.hear(Finding::Fail("refused".into()), now);
/// assert!(judge.verdict().is_some_and(|verdict| verdict.is_passing()), "one failure may be chance");
/// judge.hear(Finding::Fail("refused".into()), now);
/// assert_eq!(judge.verdict().map(|verdict| verdict.to_string()), Some("failing: refused".to_owned()));
/// ```
#[derive(Clone, Debug)]
pub struct Judge {
    thresholds: Thresholds,
    verdict: Option<Verdict>,
    /// Findings in a row that speak against the verdict.
    against: u32,
}

impl Judge {
    /// A judge who knows nothing yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, verdict: None, against: 0 }
    }

    /// The verdict; `None` before the first finding.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Takes in a finding. Whether the verdict has changed from fit to unfit or back, or is the first one.
    ///
    /// A failing verdict always tells the latest cause; that alone is no change.
    pub fn hear(&mut self, finding: Finding, now: Instant) -> bool {
        let passing = self.verdict.as_ref().map(Verdict::is_passing);
        let threshold = match (passing, &finding) {
            (None, _) | (Some(true), Finding::Unwell(_)) => 1,
            (Some(true), Finding::Fail(_)) => self.thresholds.unhealthy,
            (Some(false), Finding::Pass) => self.thresholds.healthy,
            (Some(true), Finding::Pass) => {
                self.against = 0;
                return false;
            }
            (Some(false), Finding::Fail(cause) | Finding::Unwell(cause)) => {
                self.against = 0;
                if let Some(verdict) = &mut self.verdict {
                    *verdict = Verdict::failing(cause.clone(), verdict.since());
                }
                return false;
            }
        };
        self.against += 1;
        let changes = self.against >= threshold;
        if changes {
            self.against = 0;
            self.verdict = Some(match finding {
                Finding::Pass => Verdict::passing(now),
                Finding::Fail(cause) | Finding::Unwell(cause) => Verdict::failing(cause, now),
            });
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finding(kind: u8) -> Finding {
        match kind {
            0 => Finding::Pass,
            1 => Finding::Fail("refused".into()),
            _ => Finding::Unwell("NOT_SERVING".into()),
        }
    }

    fn verdicts(thresholds: Thresholds, findings: &str) -> String {
        let (mut judge, now) = (Judge::new(thresholds), Instant::now());
        let hear = |c| {
            judge.hear(finding("pfu".find(c).expect("a finding") as u8), now);
            if judge.verdict().expect("a verdict").is_passing() { '+' } else { '-' }
        };
        findings.chars().map(hear).collect()
    }

    /// The rows of Envoy 1.40's health-checking state machine as observed, with `healthy_threshold` 3 and
    /// `unhealthy_threshold` 2: p passes, f is refused or times out, u is a served NOT_SERVING.
    #[test]
    fn follows_envoys_state_machine() {
        let thresholds = Thresholds::new(3, 2);
        for (findings, expected) in [
            ("p", "+"),
            ("f", "-"),
            ("u", "-"),
            ("fppp", "---+"),
            ("fppfppp", "------+"),
            ("pffppp", "++---+"),
            ("pfpfpf", "++++++"),
            ("puppp", "+---+"),
            ("puppuppp", "+------+"),
        ] {
            assert_eq!(verdicts(thresholds, findings), expected, "{findings}");
        }
    }

    #[test]
    fn a_failing_verdict_tells_the_latest_cause_and_keeps_its_time() {
        let (mut judge, now) = (Judge::new(Thresholds::default()), Instant::now());
        assert!(judge.hear(Finding::Fail("refused".into()), now));
        assert!(!judge.hear(Finding::Unwell("NOT_SERVING".into()), now + std::time::Duration::from_secs(5)));
        let verdict = judge.verdict().expect("a verdict");
        assert_eq!((verdict.to_string().as_str(), verdict.since()), ("failing: NOT_SERVING", now));
    }

    proptest! {
        /// Against a model that looks at the whole history.
        #[test]
        fn agrees_with_a_model_that_remembers_everything(
            healthy in 1u32..5, unhealthy in 1u32..5, findings in proptest::collection::vec(0u8..3, 1..60),
        ) {
            let (mut judge, now) = (Judge::new(Thresholds::new(healthy, unhealthy)), Instant::now());
            // The model cuts the history at each change of its verdict and counts the run at the end of the rest.
            let mut model: Option<bool> = None;
            let mut since_change: Vec<u8> = Vec::new();
            for kind in findings {
                judge.hear(finding(kind), now);
                since_change.push(kind);
                let run = |wanted: &dyn Fn(u8) -> bool| {
                    since_change.iter().rev().take_while(|&&kind| wanted(kind)).count() as u32
                };
                let next = match model {
                    None => Some(kind == 0),
                    Some(true) if kind == 2 || run(&|kind| kind != 0) >= unhealthy => Some(false),
                    Some(false) if run(&|kind| kind == 0) >= healthy => Some(true),
                    same => same,
                };
                if next != model {
                    since_change.clear();
                    model = next;
                }
                prop_assert_eq!(judge.verdict().map(Verdict::is_passing), model);
            }
        }
    }
}
