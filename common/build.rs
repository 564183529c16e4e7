//! Compiles the contract with protox, so that no protoc has to be on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        ["quintet", "users", "feed", "uploads"].map(|file| format!("quintet/v1/{file}.proto"));
    let contract = protox::compile(files, ["proto"])?;
    prost_build::Config::new().compile_fds(contract)?;
    Ok(())
}
