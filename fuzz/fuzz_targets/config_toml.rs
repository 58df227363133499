//! `model.toml`: any text is read or refused, and what was read is written and read back to the same, in every form.
#![no_main]

use std::path::Path;

use adulis_repository::{ConfigFormat, ModelConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let folder = Path::new("/nowhere");
    let config = match ModelConfig::read(ConfigFormat::Toml, text, "m", folder) {
        Ok(read) => read.config,
        Err(faults) => return assert!(!faults.is_empty()),
    };
    for (format, text) in [(ConfigFormat::Pbtxt, config.to_pbtxt()), (ConfigFormat::Toml, config.to_toml())] {
        let again = ModelConfig::read(format, &text, "m", folder).expect("our own text");
        assert_eq!(again.config, config);
    }
});
