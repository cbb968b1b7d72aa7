//! Compiles what the election by etcd needs of its API, with a compiler written in Rust: nothing but cargo is
//! needed.

#[cfg(not(feature = "etcd"))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}

#[cfg(feature = "etcd")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "src/election/etcd";
    println!("cargo:rerun-if-changed={folder}/etcd.proto");
    let descriptors = protox::compile(["etcd.proto"], [folder])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
