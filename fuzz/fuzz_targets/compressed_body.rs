#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = adulis_fuzzing::compressed_body(input);
});
