//! CORS for gRPC-Web, on `tower-http`.

mod layer;
mod origins;

pub use self::{
    layer::{Cors, CorsBody, CorsFuture, CorsLayer, cors},
    origins::{OriginError, Origins},
};

#[cfg(test)]
mod tests;
