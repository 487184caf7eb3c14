//! gRPC reflection: which services and messages there are, for grpcurl and whoever else asks before calling.

use buffa_descriptor::DescriptorPool;
use connectrpc::Router;
use connectrpc_reflection::{ReflectionError, Reflector, install};
use std::sync::LazyLock;

/// The protocol files that this build was made from.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What the paths begin with.
pub(crate) const PREFIX: &str = "/grpc.reflection.";
/// The service in both of its versions, as it is in paths.
pub(crate) const SERVICES: [&str; 2] =
    ["/grpc.reflection.v1.ServerReflection/{method}", "/grpc.reflection.v1alpha.ServerReflection/{method}"];

/// Adds the service to `router`.
pub(crate) fn register(router: Router) -> Router {
    match reflector() {
        Ok(reflector) => install(router, reflector),
        Err(error) => {
            tracing::error!(%error, "gRPC reflection is off: this build's descriptors are damaged; please report it");
            router
        }
    }
}

/// The services and messages of this build; nothing when its descriptors are damaged, which [`register`] says.
pub(crate) fn descriptors() -> Option<&'static DescriptorPool> {
    static POOL: LazyLock<Option<DescriptorPool>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());
    POOL.as_ref()
}

fn reflector() -> Result<Reflector, ReflectionError> {
    Reflector::from_descriptor_set_bytes(DESCRIPTORS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_services_of_this_build_are_described() {
        let names = super::reflector().unwrap().service_names();
        for name in
            ["querier.v1.QuerierService", "parca.query.v1alpha1.QueryService", "grpc.health.v1.Health"]
        {
            assert!(names.iter().any(|other| other == name), "{name} is not among {names:?}");
        }
    }
}
