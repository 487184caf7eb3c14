//! Compiles the protocol files, and lists the UI's files for embedding.

use prost::Message;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

const PROTOS: [&str; 19] = [
    "adhocprofiles/v1/adhocprofiles.proto",
    "capabilities/v1/feature_flags.proto",
    "debuginfo/v1alpha1/debuginfo.proto",
    "google/v1/profile.proto",
    "grpc/health/v1/health.proto",
    "opentelemetry/proto/collector/profiles/v1development/profiles_service.proto",
    "parca/debuginfo/v1alpha1/debuginfo.proto",
    "parca/metastore/v1alpha1/metastore.proto",
    "parca/profilestore/v1alpha1/profilestore.proto",
    "parca/query/v1alpha1/query.proto",
    "parca/scrape/v1alpha1/scrape.proto",
    "parca/telemetry/v1alpha1/telemetry.proto",
    "push/v1/push.proto",
    "querier/v1/querier.proto",
    "settings/v1/recording_rules.proto",
    "settings/v1/setting.proto",
    "types/v1/types.proto",
    "vcs/v1/vcs.proto",
    "version/v1/version.proto",
];

/// Stands in for the UI when it has not been built.
const NO_UI: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Everflame</title>\n\
    <h1>Everflame is running</h1>\n\
    <p>This binary was built without its web UI. Build both with <code>make run</code>, or run \
    <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code> and build the binary again.</p>\n\
    <p>Profiles are taken in and can be queried all the same; \
    see <code>/api/v1/status</code> and <code>everflame query --help</code>.</p>\n</html>\n";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_protos(&out)?;
    list_ui(&out)
}

fn compile_protos(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    let descriptors = out.join("descriptors.bin");
    fs::write(&descriptors, protox::compile(PROTOS, ["proto"])?.encode_to_vec())?;
    connectrpc_build::Config::new()
        .descriptor_set(&descriptors)
        .files(&PROTOS)
        .gate_client_feature(true)
        .include_file("wire.rs")
        .emit_rerun_directives(false)
        .compile()?;
    Ok(())
}

/// Writes `ui_files.rs`: an expression of all files below `ui/dist` of the workspace, path and bytes, or of
/// one page that says how to build them.
fn list_ui(out: &Path) -> Result<(), Box<dyn Error>> {
    let ui = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../ui");
    let dist = ui.join("dist");
    // Cargo runs this script at every build as long as a watched folder is missing.
    if ui.exists() && !dist.exists() {
        fs::create_dir(&dist)?;
    }
    if dist.exists() {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
    let mut files = Vec::new();
    if dist.join("index.html").exists() {
        collect(&dist, &mut files)?;
    } else {
        let page = out.join("index.html");
        fs::write(&page, NO_UI)?;
        files.push(page);
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&dist).or_else(|_| file.strip_prefix(out))?;
        let name =
            name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        writeln!(
            list,
            "    ({name:?}, include_bytes!({:?}) as &[u8]),",
            fs::canonicalize(file)?.display().to_string()
        )?;
    }
    list.push_str("]\n");
    fs::write(out.join("ui_files.rs"), list)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
