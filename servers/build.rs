//! Generates the gRPC services; the messages of the contract are those of `common`.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../common/proto");
    let contract =
        ["quintet", "users", "feed", "uploads"].map(|file| format!("quintet/v1/{file}.proto"));
    let files = contract.into_iter().chain(["helloworld/helloworld.proto".to_owned()]);
    let services = protox::compile(files, ["../common/proto"])?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("services.bin");
    fs::write(descriptors, services.encode_to_vec())?; // what reflection tells
    tonic_prost_build::configure()
        .extern_path(".quintet.v1", "::common::message")
        .compile_fds(services)?;

    // What the interoperability tests serve; no binary has it in.
    println!("cargo::rerun-if-changed=tests/proto");
    let tested = protox::compile(["interop/test.proto"], ["tests/proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(tested)?;
    Ok(())
}
