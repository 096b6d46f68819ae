//! The checked-in code under `proto/` is what the generator makes of the `.proto` files.
//!
//! After a change to a `.proto` file: `UPDATE_GENERATED=1 cargo test --test generated`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{env, error::Error, fs, path::Path};

const FILES: [&str; 2] = ["echo", "helloworld"];

#[test]
fn checked_in_code_is_what_the_proto_files_generate() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    fs::create_dir_all(&out)?;

    let sources = FILES.map(|name| format!("{name}.proto"));
    let descriptors = protox::compile(sources, [&proto])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(&out)
        .compile_fds(descriptors)?;

    for name in FILES {
        let file = format!("{name}.rs");
        let generated = fs::read_to_string(out.join(&file))?;
        let checked_in = proto.join(&file);
        if env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&checked_in, &generated)?;
        }
        assert!(
            generated == fs::read_to_string(&checked_in)?,
            "proto/{file} differs from what its .proto file generates; \
             run UPDATE_GENERATED=1 cargo test --test generated"
        );
    }
    Ok(())
}
