//! Compiles the contract with protox, so that no protoc has to be on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let contract = protox::compile(["quintet/v1/quintet.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(contract)?;
    Ok(())
}
