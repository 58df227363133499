use std::fs;

use adulis::config::{Config, ConfigErrors, Layers};
use tempfile::TempDir;

/// What stands for a secret in a configuration that is printed.
const MASK: &str = "********";

/// `adulis.toml`: any text is read or refused, and what was read is printed and read back to the same.
#[must_use]
pub fn config_server(input: &[u8]) -> bool {
    let config = match load(input) {
        Ok(config) => config,
        Err(ConfigErrors(faults)) => {
            assert!(!faults.is_empty(), "refused without a reason");
            return false;
        }
    };
    // What the parts of a server are made from it.
    let _ = (config.settings(), config.http(), config.grpc(), config.listener(), config.log_options());
    let _ = (config.access(), config.store(), config.shared_memory(), config.server.shares_a_port());
    let printed = config.to_toml();
    if !printed.contains(MASK) {
        let again = load(printed.as_bytes());
        assert_eq!(again.as_ref().ok(), Some(&config), "{printed}\n{:?}", again.as_ref().err());
    }
    true
}

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder for configurations can be made");
}

fn load(text: &[u8]) -> Result<Config, ConfigErrors> {
    FOLDER.with(|folder| {
        fs::write(folder.path().join("adulis.toml"), text).expect("a configuration can be written");
        let layers = Layers { folder: folder.path().to_owned(), ..Layers::default() };
        layers.load().map(|loaded| loaded.config)
    })
}
