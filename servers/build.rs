//! Generates the gRPC service of the contract; its messages are those of `common`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../common/proto");
    let contract = protox::compile(["quintet/v1/quintet.proto"], ["../common/proto"])?;
    tonic_prost_build::configure()
        .extern_path(".quintet.v1", "::common::message")
        .compile_fds(contract)?;
    Ok(())
}
