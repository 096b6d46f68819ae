//! Who stands out in one interval: A50's two algorithms.

use crate::eject::{Cause, Counts, FailurePercentage, SuccessRate};

/// Below this a difference of success rates is a rounding error: no interval has a thousand million calls.
const ROUNDING: f64 = 1e-9;

/// An endpoint that stands out, by its place, and why.
pub(super) type Outlier = (usize, Cause);

/// The endpoints whose success rate is an outlier, the worst first, so that a limit to ejections hits the right ones.
pub(super) fn success_rate(
    rule: &SuccessRate,
    interval: impl Iterator<Item = (usize, Counts)>,
) -> Vec<Outlier> {
    let Some(hosts) = with_volume(interval, rule.volume, rule.min_hosts) else { return Vec::new() };
    let limit = success_rate_limit(rule, hosts.iter().map(|(_, counts)| counts.success_rate()));
    let mut outliers: Vec<_> =
        hosts.into_iter().filter(|(_, counts)| counts.success_rate() < limit - ROUNDING).collect();
    outliers.sort_by(|(_, a), (_, b)| a.success_rate().total_cmp(&b.success_rate()));
    outliers.into_iter().map(|(place, counts)| (place, Cause::SuccessRate { counts, limit })).collect()
}

/// "mean - stdev * (stdev_factor / 1000)", over the population; and the margin.
pub(super) fn success_rate_limit(
    rule: &SuccessRate,
    rates: impl ExactSizeIterator<Item = f64> + Clone,
) -> f64 {
    let hosts = rates.len() as f64;
    let mean = rates.clone().sum::<f64>() / hosts;
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / hosts;
    let limit = mean - variance.sqrt() * f64::from(rule.stdev_factor) / 1000.0;
    limit.min(mean - f64::from(rule.margin) / 100.0)
}

/// The endpoints of whose calls too many failed, the worst first.
pub(super) fn failure_percentage(
    rule: &FailurePercentage,
    interval: impl Iterator<Item = (usize, Counts)>,
) -> Vec<Outlier> {
    let Some(mut outliers) = with_volume(interval, rule.volume, rule.min_hosts) else { return Vec::new() };
    // "If the address's failure percentage is greater than threshold": in whole numbers, so that it is exact.
    let percent = |counts: &Counts| u128::from(counts.failed()) * 100;
    outliers.retain(|(_, counts)| percent(counts) > u128::from(rule.threshold) * u128::from(counts.volume()));
    outliers.sort_by(|(_, a), (_, b)| a.success_rate().total_cmp(&b.success_rate()));
    outliers.into_iter().map(|(place, counts)| (place, Cause::FailurePercentage { counts })).collect()
}

/// The endpoints with enough calls, if they are enough endpoints.
fn with_volume(
    interval: impl Iterator<Item = (usize, Counts)>,
    volume: u64,
    min_hosts: u32,
) -> Option<Vec<(usize, Counts)>> {
    let hosts: Vec<_> = interval.filter(|(_, counts)| counts.volume() >= volume.max(1)).collect();
    (!hosts.is_empty() && hosts.len() as u64 >= u64::from(min_hosts)).then_some(hosts)
}
