//! Compiles the `.proto` files with a compiler written in Rust: nothing but cargo is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "v1/session.proto",
        "v1/exchange.proto",
        "v1/log.proto",
        "v1/record.proto",
        "v1/recording.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["v1"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".jobmanager.v1.ExchangeFrame.records")
        .compile_fds(descriptors)?;
    Ok(())
}
