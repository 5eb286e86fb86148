//! Settings in a file that is never half written.
//!
//! ```text
//! cargo run --example save_settings
//! ```

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("untorn-example-settings.txt");
    let starts: u64 = std::fs::read_to_string(&path).map_or(Ok(0), |text| text.trim().parse())?;
    untorn::replace(&path, format!("{}\n", starts + 1).as_bytes())?;
    println!("started {} times before; see {}", starts, path.display());
    Ok(())
}
