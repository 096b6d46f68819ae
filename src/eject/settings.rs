//! What is ejected, and for how long.

use std::{fmt, time::Duration};

use crate::{
    eject::{FailurePercentage, Kind, SuccessRate},
    grpc::Classify,
};

/// The longest time that can be asked for: one day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of outlier detection; see the [module](crate::eject) for what it does.
///
/// The setters accept anything; [`check`](Self::check) tells what is out of its range, and so does whatever takes the
/// settings.
///
/// ```
/// use std::time::Duration;
/// use grpc_balance::eject::{Eject, SuccessRate};
///
/// let settings = Eject::new()
///     .interval(Duration::from_secs(5))
///     .success_rate(SuccessRate::new().volume(20))
///     .failure_percentage(None)
///     .max_percent(30);
/// settings.check()?;
///
/// let error = settings.max_percent(101).check().unwrap_err();
/// assert_eq!(error.to_string(), "ejection: `max_percent` is out of range: expected at most 100");
/// # Ok::<(), grpc_balance::eject::InvalidEject>(())
/// ```
#[derive(Clone, Debug)]
pub struct Eject {
    pub(super) interval: Duration,
    pub(super) base_time: Duration,
    pub(super) max_time: Duration,
    pub(super) max_percent: u32,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) failure_percentage: Option<FailurePercentage>,
    gateway_errors: Option<u32>,
    local_origin_failures: Option<u32>,
    pub(super) trial: bool,
    classify: Option<Classify>,
}

impl Eject {
    /// Everything on: both rules of A50 with its numbers and a [margin](SuccessRate::margin), both consecutive kinds
    /// with Envoy's five, and a trial call on return. What counts as a failure is up to the balancer's own classifier.
    #[must_use]
    pub fn new() -> Self {
        Self {
            success_rate: Some(SuccessRate::new()),
            gateway_errors: Some(5),
            local_origin_failures: Some(5),
            trial: true,
            classify: None,
            ..Self::a50()
        }
    }

    /// Exactly gRFC A50 with its numbers: both of its rules and nothing else, no trial, and every status but OK is a
    /// failure. A service config that asks for one rule only is written with `None` for the other.
    #[must_use]
    pub fn a50() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_percent: 10,
            success_rate: Some(SuccessRate::a50()),
            failure_percentage: Some(FailurePercentage::new()),
            gateway_errors: None,
            local_origin_failures: None,
            trial: false,
            classify: Some(Classify::any_non_ok()),
        }
    }

    /// The time from one sweep to the next. Default 10 s, as A50; above zero, and at most one day.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long a first ejection lasts; the second in close succession lasts twice as long, and so on. Default 30 s,
    /// as A50; at most one day.
    ///
    /// An endpoint returns at the first sweep *after* its time.
    #[must_use]
    pub fn base_time(mut self, time: Duration) -> Self {
        self.base_time = time;
        self
    }

    /// Where ejections stop growing. Default 300 s, as A50; at most one day. Less than the base time counts as the
    /// base time.
    #[must_use]
    pub fn max_time(mut self, time: Duration) -> Self {
        self.max_time = time;
        self
    }

    /// The part of all endpoints that may be ejected, in percent. Default 10, as A50; at most 100.
    ///
    /// It is looked at before each ejection, so that one endpoint can always be ejected, unless this is 0.
    #[must_use]
    pub fn max_percent(mut self, percent: u32) -> Self {
        self.max_percent = percent;
        self
    }

    /// Whether, and how, success rates are compared. On by default.
    #[must_use]
    pub fn success_rate(mut self, rule: impl Into<Option<SuccessRate>>) -> Self {
        self.success_rate = rule.into();
        self
    }

    /// Whether, and how, failures are held against a fixed percentage. On by default.
    #[must_use]
    pub fn failure_percentage(mut self, rule: impl Into<Option<FailurePercentage>>) -> Self {
        self.failure_percentage = rule.into();
        self
    }

    /// How many [gateway errors](Kind::GatewayError) in a row eject an endpoint at once, or `None`. Default 5, Envoy's
    /// `consecutive_gateway_failure`; none for [`a50`](Self::a50). At least 1.
    #[must_use]
    pub fn consecutive_gateway_errors(mut self, errors: impl Into<Option<u32>>) -> Self {
        self.gateway_errors = errors.into();
        self
    }

    /// How many [failures of the transport](Kind::LocalOrigin) in a row eject an endpoint at once, or `None`. Default
    /// 5, Envoy's `consecutive_local_origin_failure`; none for [`a50`](Self::a50). At least 1.
    #[must_use]
    pub fn consecutive_local_origin_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.local_origin_failures = failures.into();
        self
    }

    /// Whether an endpoint gets one call at a time when its ejection is over, until one has succeeded. On by default,
    /// off for [`a50`](Self::a50).
    ///
    /// A call that fails ejects it again, for longer, and so a relapse costs one call rather than an interval's.
    #[must_use]
    pub fn trial(mut self, trial: bool) -> Self {
        self.trial = trial;
        self
    }

    /// Counts every status but OK as a failure, as A50 does, whatever the balancer's own classifier says. The default
    /// for [`a50`](Self::a50).
    #[must_use]
    pub fn any_non_ok(self) -> Self {
        self.classify(Classify::any_non_ok())
    }

    /// Decides by a classifier of its own what counts as a failure. By default the balancer's decides.
    #[must_use]
    pub fn classify(mut self, classify: Classify) -> Self {
        self.classify = Some(classify);
        self
    }
}

impl Eject {
    /// Tells the first setting that is out of its range.
    ///
    /// # Errors
    ///
    /// [`InvalidEject`] names the setting and what was expected.
    pub fn check(&self) -> Result<(), InvalidEject> {
        let percent = |setting, percent| InvalidEject::unless(percent <= 100, setting, "at most 100");
        let some = |setting, count| InvalidEject::unless(count > 0, setting, "at least 1");
        let time = |setting, time| InvalidEject::unless(time <= LONGEST, setting, "at most one day");

        InvalidEject::unless(!self.interval.is_zero(), "interval", "above zero")?;
        time("interval", self.interval)?;
        time("base_time", self.base_time)?;
        time("max_time", self.max_time)?;
        percent("max_percent", self.max_percent)?;
        if let Some(rule) = &self.success_rate {
            percent("success_rate.enforcement", rule.enforcement)?;
            percent("success_rate.margin", rule.margin)?;
            some("success_rate.volume", rule.volume)?;
        }
        if let Some(rule) = &self.failure_percentage {
            percent("failure_percentage.threshold", rule.threshold)?;
            percent("failure_percentage.enforcement", rule.enforcement)?;
            some("failure_percentage.volume", rule.volume)?;
        }
        some("consecutive_gateway_errors", self.gateway_errors.map_or(1, u64::from))?;
        some("consecutive_local_origin_failures", self.local_origin_failures.map_or(1, u64::from))
    }

    /// Whether a streak of this kind that has just reached this length is worth
    /// [telling](crate::eject::Outliers::consecutive): at the threshold, and at each multiple of it, since the
    /// endpoint may not have been ejected at the first.
    #[must_use]
    pub fn trips(&self, kind: Kind, count: u32) -> bool {
        self.consecutive(kind).is_some_and(|threshold| count > 0 && count.is_multiple_of(threshold))
    }

    /// The classifier of its own, if it has one.
    #[must_use]
    pub fn classifier(&self) -> Option<&Classify> {
        self.classify.as_ref()
    }

    /// Whether anything can be ejected at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        let rules = self.success_rate.is_some() || self.failure_percentage.is_some();
        self.max_percent > 0
            && (rules || self.gateway_errors.is_some() || self.local_origin_failures.is_some())
    }
}

impl Eject {
    /// How many failures of this kind in a row eject.
    pub(super) fn consecutive(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::GatewayError => self.gateway_errors,
            Kind::LocalOrigin => self.local_origin_failures,
        }
    }

    /// How long an ejection lasts: `min(base * multiplier, max(base, max))`.
    pub(super) fn lasts(&self, multiplier: u32) -> Duration {
        self.base_time.saturating_mul(multiplier).min(self.base_time.max(self.max_time))
    }
}

impl Default for Eject {
    fn default() -> Self {
        Self::new()
    }
}

/// A setting of an [`Eject`] that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEject {
    setting: &'static str,
    expected: &'static str,
}

impl InvalidEject {
    fn unless(valid: bool, setting: &'static str, expected: &'static str) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self { setting, expected }) }
    }
}

impl fmt::Display for InvalidEject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ejection: `{}` is out of range: expected {}", self.setting, self.expected)
    }
}

impl std::error::Error for InvalidEject {}
