//! Bodies and messages of requests to load, unload and list models, to change settings and to register shared memory: the
//! first byte chooses which.
#![no_main]

use adulis_protocol::grpc;
use adulis_protocol::rest::{self, RepositoryModel};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else {
        return;
    };
    let target = RepositoryModel { model: "m".into(), ..RepositoryModel::default() };
    match kind % 10 {
        0 => {
            let Ok(load) = rest::decode_load(target, body) else {
                return;
            };
            let size = |file: &(_, bytes::Bytes)| file.1.len();
            let sizes = load.files.iter().map(size).chain(load.config.iter().map(bytes::Bytes::len));
            assert!(sizes.sum::<usize>() <= body.len(), "more came out than went in");
        }
        1 => drop(rest::decode_unload(target, body)),
        2 => drop(rest::decode_index_query("".into(), body)),
        3 => drop(rest::decode_log_update(body)),
        4 => drop(rest::decode_trace_update("m", body)),
        5 => drop(decoded(body, grpc::decode_load)),
        6 => drop(decoded(body, grpc::decode_unload)),
        7 => drop(decoded(body, grpc::decode_log_update)),
        8 => drop(decoded(body, grpc::decode_trace_update)),
        _ => {
            let Ok(region) = rest::decode_region("r".into(), body) else {
                return;
            };
            // What was decoded is told, and decodes to the same.
            let told = rest::region_statuses(std::slice::from_ref(&region));
            let again = rest::decode_region("r".into(), &told[1..told.len() - 1]).expect("our own region");
            assert_eq!(again, region);
        }
    }
});

/// What a message says, if these bytes are one.
fn decoded<M: Message + Default, T>(bytes: &[u8], decode: impl FnOnce(M) -> T) -> Option<T> {
    M::decode(bytes).ok().map(decode)
}
