//! A settings file that is never half written, in five lines.
//!
//! ```text
//! cargo run --example save_settings
//! ```

use std::collections::BTreeMap;

use untorn::snapshot::{SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("untorn-example-settings.snap");

    let mut settings: BTreeMap<String, u64> =
        SnapshotFsLoader::new(path.clone()).load()?.unwrap_or_default();
    *settings.entry("starts".to_owned()).or_default() += 1;
    let mut writer = SnapshotFsWriter::new(path.clone())?;
    writer.write(&settings)?;
    writer.close()?; // from here on it survives a power cut

    println!("started {} times; see {}", settings["starts"], path.display());
    Ok(())
}
