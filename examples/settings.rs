//! Policies from a file that is read again while calls run, with environment variables on top.
//!
//!     cargo run --example settings --features serde

use std::error::Error;
use std::fs;
use std::time::Duration;

use config::{Environment, FileFormat};
use seawall::settings::{File, Settings};

const FILE: &str = r#"
    [clients.orders]
    total_timeout = "5s"
    attempt_timeout = "800ms"

    [bulkheads.db]
    limit = 20
"#;

/// `SEAWALL__BULKHEADS__DB__LIMIT=5` wins.
fn parse(text: &str) -> Result<Settings, config::ConfigError> {
    let variables = Environment::with_prefix("SEAWALL").prefix_separator("__");
    config::Config::builder()
        .add_source(config::File::from_str(text, FileFormat::Toml))
        .add_source(variables.separator("__"))
        .build()?
        .try_deserialize()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("seawall-{}.toml", std::process::id()));
    fs::write(&path, FILE)?;
    let mut file = File::open(&path, parse)?;
    let orders = file.settings().client("orders")?.build()?;
    let db = file.settings().bulkhead("db")?.build()?;
    println!("{orders}");
    // Instead of an operator with an editor.
    let edits = [
        ("limit = 20", "limit = 40"),
        ("limit = 20", "limit = \"many\"\n queeu = 5"),
        ("800ms", "1s"),
    ];
    for (from, to) in edits {
        fs::write(&path, FILE.replace(from, to))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        match file.check() {
            Ok(None) => println!("nothing new"),
            Ok(Some(applied)) => println!("{applied}"),
            Err(error) => println!("{error}"),
        }
        let layers = orders.describe().layers;
        println!("-> db: {} in flight, {}", db.limit(), layers[7]);
    }
    fs::remove_file(path)?;
    Ok(())
}
