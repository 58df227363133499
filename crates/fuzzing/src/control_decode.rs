use adulis_protocol::grpc;
use adulis_protocol::rest::{self, RepositoryModel};
use bytes::Bytes;
use prost::Message;

/// Bodies and messages of requests to load, unload and list models, to change settings and to register shared memory: the
/// first byte chooses which.
#[must_use]
pub fn control_decode(input: &[u8]) -> bool {
    let Some((kind, body)) = input.split_first() else {
        return false;
    };
    let target = RepositoryModel { model: "m".into(), ..RepositoryModel::default() };
    match kind % 10 {
        0 => load(target, body),
        1 => rest::decode_unload(target, body).is_ok(),
        2 => rest::decode_index_query("".into(), body).is_ok(),
        3 => rest::decode_log_update(body).is_ok(),
        4 => rest::decode_trace_update("m", body).is_ok(),
        5 => message(body, grpc::decode_load),
        6 => message(body, grpc::decode_unload),
        7 => message(body, grpc::decode_log_update),
        8 => message(body, grpc::decode_trace_update),
        _ => region(body),
    }
}

fn load(target: RepositoryModel, body: &[u8]) -> bool {
    let Ok(load) = rest::decode_load(target, body) else {
        return false;
    };
    let size = |file: &(_, Bytes)| file.1.len();
    let sizes = load.files.iter().map(size).chain(load.config.iter().map(Bytes::len));
    assert!(sizes.sum::<usize>() <= body.len(), "more came out than went in");
    true
}

fn region(body: &[u8]) -> bool {
    let Ok(region) = rest::decode_region("r".into(), body) else {
        return false;
    };
    // What was decoded is told, and decodes to the same.
    let told = rest::region_statuses(std::slice::from_ref(&region));
    let again = rest::decode_region("r".into(), &told[1..told.len() - 1]).expect("our own region is read");
    assert_eq!(again, region);
    true
}

/// Whether a message is one, and is taken.
fn message<M: Message + Default + 'static, T, E>(
    bytes: &[u8],
    decode: impl FnOnce(M) -> Result<T, E>,
) -> bool {
    grpc::decode_message(Bytes::copy_from_slice(bytes)).is_ok_and(|message| decode(message).is_ok())
}
