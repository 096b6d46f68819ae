//! Several services for one route.

use crate::random::Random;

/// Several services that share a route's requests by weight, such as a release and its canary.
///
/// Each request goes to one of them at random, so a canary of 5 in 100 gets every twentieth request on average and
/// not in turn. A weight of 0 switches a service off; weights that are all 0 are an error of
/// [`Builder::build`](crate::route::Builder::build), and so are weights that add up to more than `u32::MAX`, as in Envoy.
#[derive(Clone, Debug)]
pub struct Weighted<S>(Vec<(S, u32)>);

impl<S> Weighted<S> {
    /// Services with their weights.
    #[must_use]
    pub fn new(services: impl IntoIterator<Item = (S, u32)>) -> Self {
        Self(services.into_iter().collect())
    }

    pub(super) fn only(service: S) -> Self {
        Self(vec![(service, 1)])
    }

    pub(super) fn map<T>(self, mut map: impl FnMut(S) -> T) -> Weighted<T> {
        Weighted(self.0.into_iter().map(|(service, weight)| (map(service), weight)).collect())
    }

    pub(super) fn checked(self) -> Result<Choice<S>, &'static str> {
        let sum = self.0.iter().try_fold(0u32, |sum, (_, weight)| sum.checked_add(*weight));
        match sum.map(usize::try_from) {
            Some(Ok(0)) => Err("its weights add up to 0: expected at least one above 0"),
            Some(Ok(total)) => Ok(Choice { services: self.0.into_boxed_slice(), total }),
            _ => Err("its weights add up to more than 4294967295"),
        }
    }
}

/// The services of a route, whose weights are fine.
#[derive(Debug)]
pub(super) struct Choice<S> {
    services: Box<[(S, u32)]>,
    total: usize,
}

impl<S> Choice<S> {
    pub(super) fn map<T>(&self, map: &mut impl FnMut(&S) -> T) -> Choice<T> {
        let services = self.services.iter().map(|(service, weight)| (map(service), *weight)).collect();
        Choice { services, total: self.total }
    }

    /// A service; always one, since the weights add up to the total.
    pub(super) fn pick(&self, random: &Random) -> Option<&S> {
        if let [(only, _)] = &*self.services {
            return Some(only);
        }
        let mut point = random.below(self.total);
        for (service, weight) in &self.services {
            match point.checked_sub(*weight as usize) {
                Some(rest) => point = rest,
                None => return Some(service),
            }
        }
        None
    }
}
