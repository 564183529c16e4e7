//! Compiles the suite's own messages, in the way in which `common` compiles the contract.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=CONFORMANCE_INCLUDE");
    let include = std::env::var("CONFORMANCE_INCLUDE")
        .map_err(|error| format!("CONFORMANCE_INCLUDE: {error}; `conformance/run` sets it"))?;
    println!("cargo::rerun-if-changed={include}");
    let protos = ["conformance/conformance.proto", "google/protobuf/test_messages_proto3.proto"];
    prost_build::Config::new().compile_fds(protox::compile(protos, [include])?)?;
    Ok(())
}
