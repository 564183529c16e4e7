//! What is served here, told to tools that have no .proto: grpc.reflection, in its final form and in
//! the older one that many tools still speak. It pays with the descriptors in memory, once.

use tonic_reflection::pb;
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

/// What the build made of the .proto files.
const SERVICES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/services.bin"));

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(SERVICES)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Each tells of the other too.
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
}

/// grpc.reflection.v1.
pub(in crate::grpc) fn v1() -> ServerReflectionServer<impl ServerReflection> {
    builder().build_v1().expect("the descriptors are constants, and a test reads them")
}

/// grpc.reflection.v1alpha.
pub(in crate::grpc) fn v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>
{
    builder().build_v1alpha().expect("the descriptors are constants, and a test reads them")
}
