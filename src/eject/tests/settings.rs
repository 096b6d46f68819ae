//! What settings say, and which are refused.

use std::time::Duration;

use crate::{
    eject::{Eject, FailurePercentage, Kind, SuccessRate},
    grpc::{Code, Outcome},
};

#[test]
fn the_defaults_are_in_range() {
    assert_eq!(Eject::new().check(), Ok(()));
    assert_eq!(Eject::a50().check(), Ok(()));
}

#[test]
fn settings_out_of_range_are_told_by_name() {
    let (new, day) = (Eject::new(), Duration::from_secs(86_400));
    for (settings, name) in [
        (new.clone().interval(Duration::ZERO), "interval"),
        (new.clone().interval(day * 2), "interval"),
        (new.clone().base_time(day * 2), "base_time"),
        (new.clone().max_time(Duration::MAX), "max_time"),
        (new.clone().max_percent(101), "max_percent"),
        (new.clone().success_rate(SuccessRate::new().enforcement(101)), "success_rate.enforcement"),
        (new.clone().success_rate(SuccessRate::new().margin(101)), "success_rate.margin"),
        (new.clone().success_rate(SuccessRate::new().volume(0)), "success_rate.volume"),
        (
            new.clone().failure_percentage(FailurePercentage::new().threshold(101)),
            "failure_percentage.threshold",
        ),
        (
            new.clone().failure_percentage(FailurePercentage::new().enforcement(101)),
            "failure_percentage.enforcement",
        ),
        (new.clone().failure_percentage(FailurePercentage::new().volume(0)), "failure_percentage.volume"),
        (new.clone().consecutive_gateway_errors(0), "consecutive_gateway_errors"),
        (new.clone().consecutive_local_origin_failures(0), "consecutive_local_origin_failures"),
    ] {
        let error = settings.check().unwrap_err();
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn a50_is_what_the_grfc_says() {
    let a50 = Eject::a50();
    let seconds = [a50.interval, a50.base_time, a50.max_time].map(|time| time.as_secs());
    assert_eq!((seconds, a50.max_percent, a50.trial), ([10, 30, 300], 10, false));
    assert_eq!(a50.success_rate, Some(SuccessRate::new().margin(0)));
    assert_eq!([Kind::GatewayError, Kind::LocalOrigin].map(|kind| a50.consecutive(kind)), [None, None]);
    let outcome = a50.classifier().map(|classify| classify.outcome(Code::NotFound));
    assert_eq!(outcome, Some(Outcome::Failure));
}

#[test]
fn a_maximum_below_the_base_time_counts_as_the_base_time() {
    let settings = Eject::new().base_time(Duration::from_secs(30)).max_time(Duration::from_secs(10));
    assert_eq!(settings.lasts(7), Duration::from_secs(30));
    assert_eq!(Eject::new().lasts(3), Duration::from_secs(90));
    assert_eq!(Eject::new().lasts(u32::MAX), Duration::from_secs(300));
}

#[test]
fn what_can_eject_nothing_is_off() {
    let none = Eject::a50().success_rate(None).failure_percentage(None);
    assert!(!none.is_on() && none.consecutive_gateway_errors(5).is_on());
    assert!(!Eject::new().max_percent(0).is_on());
}
