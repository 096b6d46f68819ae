//! Endpoints: who they are, apart from what is said about them.
//!
//! An endpoint's *identity* is its set of addresses ([`EndpointKey`]); weight, locality, host name and the latest
//! [`Verdict`] of a health check are *attributes*. Discovery may change attributes at any time, and a connection survives such a change.
//!
//! ```
//! use grpc_balance::endpoint::Endpoint;
//!
//! let light: Endpoint = "10.0.0.1:50051".parse()?;
//! let heavy = light.clone().with_weight(10);
//! assert_eq!(light.key(), heavy.key());
//! assert_ne!(light, heavy);
//! # Ok::<(), grpc_balance::endpoint::ParseAddressError>(())
//! ```

mod address;
mod set;
mod verdict;

use std::{fmt, str::FromStr, sync::Arc};

pub use self::{
    address::{Address, ParseAddressError},
    set::EndpointSet,
    verdict::Verdict,
};

/// The identity of an endpoint: its addresses, in no particular order (gRFC A58, A61).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(Arc<[Address]>);

impl EndpointKey {
    /// The addresses, sorted, without repetition.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.0
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            address.fmt(f)?;
        }
        Ok(())
    }
}

/// Where an endpoint runs, from the coarse to the fine (Envoy's `Locality`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Locality {
    /// For example a cloud region.
    pub region: String,
    /// For example an availability zone.
    pub zone: String,
    /// For example a rack.
    pub sub_zone: String,
}

impl Locality {
    /// A locality of which only the zone is known.
    #[must_use]
    pub fn zone(zone: impl Into<String>) -> Self {
        Self { zone: zone.into(), ..Self::default() }
    }
}

/// One backend: a process that can serve any call to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    key: EndpointKey,
    addresses: Arc<[Address]>,
    weight: u32,
    locality: Option<Arc<Locality>>,
    host_name: Option<Arc<str>>,
    verdict: Option<Verdict>,
}

impl Endpoint {
    /// An endpoint with one address and weight 1.
    #[must_use]
    pub fn new(address: impl Into<Address>) -> Self {
        let addresses: Arc<[Address]> = Arc::new([address.into()]);
        Self::of(EndpointKey(addresses.clone()), addresses)
    }

    /// An endpoint that can be reached at several addresses, tried in this order (gRFC A61).
    ///
    /// `None` when there is no address.
    #[must_use]
    pub fn with_addresses(addresses: impl IntoIterator<Item = Address>) -> Option<Self> {
        let mut ordered: Vec<Address> = Vec::new();
        for address in addresses {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
        if ordered.is_empty() {
            return None;
        }
        let mut sorted = ordered.clone();
        sorted.sort();
        Some(Self::of(EndpointKey(sorted.into()), ordered.into()))
    }

    fn of(key: EndpointKey, addresses: Arc<[Address]>) -> Self {
        Self { key, addresses, weight: 1, locality: None, host_name: None, verdict: None }
    }

    /// Sets the weight, relative to the other endpoints of the set. Default 1.
    ///
    /// An endpoint of weight 0 gets calls only while every ready endpoint has weight 0.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the locality. Default: unknown.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.locality = Some(Arc::new(locality));
        self
    }

    /// Sets the host name: the `:authority` and the TLS server name of connections to this endpoint, where it
    /// differs from the target's (SRV records, gRFC A81).
    #[must_use]
    pub fn with_host_name(mut self, host_name: impl Into<Arc<str>>) -> Self {
        self.host_name = Some(host_name.into());
        self
    }

    /// Attaches what the latest health check says. Default: nothing is known.
    ///
    /// ```
    /// use grpc_balance::endpoint::{Endpoint, Verdict};
    /// use tokio::time::Instant;
    ///
    /// let unknown: Endpoint = "10.0.0.1:50051".parse()?;
    /// let failing = unknown.clone().with_verdict(Verdict::failing("refused", Instant::now()));
    /// assert_eq!(failing.key(), unknown.key(), "it is the same endpoint");
    /// assert_ne!(failing, unknown);
    /// # Ok::<(), grpc_balance::endpoint::ParseAddressError>(())
    /// ```
    #[must_use]
    pub fn with_verdict(mut self, verdict: impl Into<Option<Verdict>>) -> Self {
        self.verdict = verdict.into();
        self
    }

    /// The identity.
    #[must_use]
    pub fn key(&self) -> &EndpointKey {
        &self.key
    }

    /// The addresses in the order in which to try them; never empty.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The weight, relative to the other endpoints of the set.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The locality, if it is known.
    #[must_use]
    pub fn locality(&self) -> Option<&Locality> {
        self.locality.as_deref()
    }

    /// The host name, if it differs from the target's.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        self.host_name.as_deref()
    }

    /// What the latest health check says, if there was one.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<A: Into<Address>> From<A> for Endpoint {
    fn from(address: A) -> Self {
        Self::new(address)
    }
}

impl FromStr for Endpoint {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|address: Address| Self::new(address))
    }
}
