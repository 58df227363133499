//! The schema of model configurations, compiled from `proto/model_config.proto`.

mod table;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

pub(crate) use table::{map_key, message_of, narrow, table_of, value_kind};

/// The schema, compiled: a serialised `FileDescriptorSet`. A test keeps it equal to the schema's text.
const DESCRIPTOR: &[u8] = include_bytes!("schema/model_config.bin");

/// `inference.ModelConfig`.
pub(crate) static SCHEMA: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTOR)
        .ok()
        .and_then(|pool| pool.get_message_by_name("inference.ModelConfig"))
        .expect("invariant: the descriptor that is compiled in decodes and has ModelConfig (tested)")
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message as _;

    #[test]
    fn descriptor_is_that_of_the_schema() {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let proto = crate_dir.join("../../proto");
        let mut compiler = protox::Compiler::new([proto]).unwrap();
        compiler.include_source_info(false).open_file("model_config.proto").unwrap();
        let set = compiler.file_descriptor_set();
        let file = crate_dir.join("src/schema/model_config.bin");
        if std::env::var_os("ADULIS_UPDATE").is_some() {
            std::fs::write(&file, set.encode_to_vec()).unwrap();
        }
        assert!(
            std::fs::read(&file).unwrap() == set.encode_to_vec(),
            "proto/model_config.proto has changed: run ADULIS_UPDATE=1 cargo test -p adulis-repository descriptor"
        );
    }
}
