//! A snapshot as a table.

use std::{fmt, time::Duration};

use crate::stats::{EndpointSnapshot, Snapshot};

const COLUMNS: [(&str, Align); 12] = [
    ("endpoint", Align::Left),
    ("state", Align::Left),
    ("weight", Align::Right),
    ("calls", Align::Right),
    ("in flight", Align::Right),
    ("failed", Align::Right),
    ("cancelled", Align::Right),
    ("p50", Align::Right),
    ("p99", Align::Right),
    ("connects", Align::Right),
    ("lost", Align::Right),
    ("last failure", Align::Last),
];

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
    /// As left, without padding after it.
    Last,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.target, self.state)?;
        match (self.resolved, self.set_age) {
            (Some(endpoints), Some(age)) => {
                write!(f, ", {endpoints} endpoints resolved {} ago", Short(age))?;
            }
            _ => f.write_str(", not resolved yet")?,
        }
        if self.failed_resolutions > 0 {
            write!(f, ", {} failed resolutions", self.failed_resolutions)?;
        }
        write!(f, "\ncalls  {}", self.outcomes.total())?;
        for (code, count) in self.outcomes.iter() {
            write!(f, "  {code} {count}")?;
        }
        for (what, count) in [
            ("waiting", self.waiting),
            ("queued", self.queued),
            ("picked again", self.repicked),
            ("retried", self.retried),
            ("expired here", self.expired),
        ] {
            if count > 0 {
                write!(f, "  {what} {count}")?;
            }
        }
        f.write_str("\n")?;

        let rows: Vec<_> = self.endpoints.iter().map(cells).collect();
        let mut widths = COLUMNS.map(|(title, _)| title.len());
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        write_row(f, &widths, &COLUMNS.map(|(title, _)| title.to_owned()))?;
        rows.iter().try_for_each(|row| write_row(f, &widths, row))
    }
}

fn cells(endpoint: &EndpointSnapshot) -> [String; COLUMNS.len()] {
    let quantile = |share| match endpoint.latencies.quantile(share) {
        Some(duration) => Short(duration).to_string(),
        None => "-".to_owned(),
    };
    let failure = match &endpoint.last_failure {
        Some(failure) => {
            format!("{} ago: {}", Short(failure.at.elapsed()), failure.error.report())
        }
        None => "-".to_owned(),
    };
    [
        endpoint.endpoint.to_string(),
        endpoint.state.to_string(),
        endpoint.weight.to_string(),
        endpoint.started.to_string(),
        endpoint.in_flight.to_string(),
        endpoint.failed.to_string(),
        endpoint.cancelled.to_string(),
        quantile(0.5),
        quantile(0.99),
        endpoint.connects.to_string(),
        endpoint.disconnects.total().to_string(),
        failure,
    ]
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize; COLUMNS.len()],
    cells: &[String; COLUMNS.len()],
) -> fmt::Result {
    for ((&width, cell), (_, align)) in widths.iter().zip(cells).zip(COLUMNS) {
        match align {
            Align::Left => write!(f, "{cell:<width$}  ")?,
            Align::Right => write!(f, "{cell:>width$}  ")?,
            Align::Last => writeln!(f, "{cell}")?,
        }
    }
    Ok(())
}

/// A duration with three digits at most, for people.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_secs_f64() * 1e6;
        let (value, unit) = match micros {
            ..1e3 => (micros, "us"),
            ..1e6 => (micros / 1e3, "ms"),
            ..120e6 => (micros / 1e6, "s"),
            ..7200e6 => (micros / 60e6, "min"),
            _ => (micros / 3600e6, "h"),
        };
        let digits = if value < 9.95 && unit != "us" { 1 } else { 0 };
        write!(f, "{value:.digits$}{unit}")
    }
}
