use std::path::Path;

use adulis_repository::{ConfigFormat, ModelConfig};

/// `config.pbtxt`: any text is read or refused, and what was read is written and read back to the same, in every form.
#[must_use]
pub fn config_pbtxt(input: &[u8]) -> bool {
    text(ConfigFormat::Pbtxt, input)
}

/// `model.toml`, in the same way.
#[must_use]
pub fn config_toml(input: &[u8]) -> bool {
    text(ConfigFormat::Toml, input)
}

/// Configurations in Triton's JSON form, as clients bring them along, in the same way.
#[must_use]
pub fn config_json(input: &[u8]) -> bool {
    match ModelConfig::read_json(input, "m", folder()) {
        Ok(read) => reads_back(&read.config),
        Err(faults) => refused(&faults),
    }
}

fn text(format: ConfigFormat, input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else {
        return false;
    };
    match ModelConfig::read(format, text, "m", folder()) {
        Ok(read) => reads_back(&read.config),
        Err(faults) => refused(&faults),
    }
}

fn refused<T>(faults: &[T]) -> bool {
    assert!(!faults.is_empty(), "refused without a reason");
    false
}

fn reads_back(config: &ModelConfig) -> bool {
    for (format, text) in [
        (ConfigFormat::Pbtxt, config.to_pbtxt()),
        (ConfigFormat::Toml, config.to_toml()),
    ] {
        let again = ModelConfig::read(format, &text, "m", folder()).expect("our own text is read");
        assert_eq!(again.config, *config);
    }
    let document = config.document();
    let again = ModelConfig::read_json(&document.json, "m", folder()).expect("our own document is read");
    assert_eq!(again.config, *config);
    true
}

/// Where the configuration would lie: nothing is read there.
fn folder() -> &'static Path {
    Path::new("/nowhere")
}
