//! Configurations in Triton's JSON form, as clients bring them along: any bytes are read or refused, and what was read is
//! told and read back to the same.
#![no_main]

use std::path::Path;

use adulis_repository::ModelConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let folder = Path::new("/nowhere");
    let config = match ModelConfig::read_json(input, "m", folder) {
        Ok(read) => read.config,
        Err(faults) => return assert!(!faults.is_empty()),
    };
    let document = config.document();
    let again = ModelConfig::read_json(&document.json, "m", folder).expect("our own document");
    assert_eq!(again.config, config);
});
