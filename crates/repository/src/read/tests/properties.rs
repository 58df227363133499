//! Any configuration survives being written, and no text makes the readers panic.

use proptest::prelude::*;

use super::any::any_config;
use super::json::PRINTED as FULL_JSON;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_back_the_same(config in any_config()) {
        for (format, text) in [(ConfigFormat::Toml, config.to_toml()), (ConfigFormat::Pbtxt, config.to_pbtxt())] {
            let read = ModelConfig::read(format, &text, "digits", Path::new("/nowhere"));
            let read = read.map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{text}")))?;
            prop_assert_eq!(&read.config, &config, "{}", text);
        }
    }

    #[test]
    fn what_clients_are_told_reads_back_the_same(config in any_config()) {
        let document = config.document();
        let read = ModelConfig::read_json(&document.json, "digits", Path::new("/nowhere"));
        let read = read.map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{document:?}")))?;
        prop_assert_eq!(&read.config, &config);
    }

    #[test]
    fn any_json_is_read_or_refused(
        place in 0..FULL_JSON.len(),
        length in 0..40_usize,
        noise in "[a-z_{}\\[\\]:,\"0-9.e \\n\\\\-]{0,24}",
    ) {
        let mut bytes = FULL_JSON.as_bytes().to_vec();
        let end = (place + length).min(bytes.len());
        bytes.splice(place..end, noise.bytes());
        if let Err(faults) = ModelConfig::read_json(&bytes, "digits", Path::new("/nowhere")) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn mutated_pbtxt_never_panics(
        cuts in proptest::collection::vec((0..FULL.len(), 0..40_usize), 0..4),
        noise in "[a-z_{}\\[\\]<>:;,\"'0-9 \\n#\\\\-]{0,24}",
        place in 0..FULL.len(),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, length) in cuts {
            let start = at.min(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
        }
        let place = place.min(bytes.len());
        bytes.splice(place..place, noise.bytes());
        let text = String::from_utf8(bytes).unwrap();
        if let Err(faults) = ModelConfig::read(ConfigFormat::Pbtxt, &text, "digits", Path::new("/nowhere")) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        for format in ConfigFormat::ALL {
            let _ = ModelConfig::read(format, &text, "digits", Path::new("/nowhere"));
        }
    }
}
