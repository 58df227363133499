//! FlatBuffers that lie about themselves.

use adulis_protocol::flatbuffers;

use crate::rows::{Row, all_refused};
use crate::send::native;
use crate::support::grpc;
use crate::{cases, models};

const INFER: &str = "POST /v2/models/pair/infer";
const TYPE: [&str; 1] = ["content-type: application/x-flatbuffers"];

/// A good buffer; the pattern of bytes of a field in it is looked for to change the field.
fn buffer() -> Vec<u8> {
    flatbuffers::encode_request(&native(&cases::good()).unwrap()).unwrap().concat()
}

/// The good buffer with the first of these bytes made others.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut body = buffer();
    let at = body.windows(from.len()).position(|found| found == from).expect("they are there");
    body[at..at + to.len()].copy_from_slice(to);
    body
}

fn bad<'a>(body: Vec<u8>, says: &'a [&'a str]) -> Row<'a> {
    Row::new(INFER, body, says).with(&TYPE)
}

#[tokio::test]
async fn over_http() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let root = |offset: u32| [&offset.to_le_bytes()[..], &buffer()[4..]].concat();
    let root_table = u32::from_le_bytes(buffer()[..4].try_into().unwrap()) as usize;
    let table = |vtable: i32| {
        let mut body = buffer();
        body[root_table..root_table + 4].copy_from_slice(&vtable.to_le_bytes());
        body
    };
    // The shape of the first input, [1, 4].
    let shape = [1_u64.to_le_bytes(), 4_u64.to_le_bytes()].concat();
    let shaped = |dimensions: [u64; 2]| changed(&shape, &dimensions.map(u64::to_le_bytes).concat());
    let every_word = |value: u32| value.to_le_bytes().repeat(buffer().len() / 4);
    let identified = [&buffer()[..4], b"ADLS", &[0xff; 64][..]].concat();
    let rows = [
        bad(b"".to_vec(), &["'pair'"]),
        bad(b"{\"inputs\":[]}".to_vec(), &["'pair'", "file identifier"]),
        bad(changed(b"ADLS", b"ADLX"), &["'pair'", "file identifier"]),
        bad(root(0), &["'pair'"]),
        bad(root(u32::MAX), &["'pair'", "out of the buffer"]),
        bad(root(3), &["'pair'"]),
        bad(table(i32::MAX), &["'pair'", "out of the buffer"]),
        bad(table(i32::MIN), &["'pair'", "out of the buffer"]),
        bad(table(0), &["'pair'"]),
        bad(identified, &["'pair'"]),
        bad(every_word(0), &["'pair'"]),
        bad(every_word(u32::MAX), &["'pair'"]),
        bad(every_word(4), &["'pair'"]),
        bad(changed(b"INPUT0", b"INPUT\xff"), &["'pair'", "UTF-8"]),
        bad(changed(b"INPUT0", b"INPUT7"), &["'pair'", "'INPUT7'", "'INPUT0', 'INPUT1'"]),
        bad(changed(b"INPUT0", b"INPUT1"), &["'pair'", "'INPUT1'", "twice"]),
        bad(shaped([1, 5]), &["'pair'", "'INPUT0'", "expected 20 bytes", "got 16"]),
        bad(shaped([2, 2]), &["'pair'", "'INPUT0'", "shape [2,2]", "[-1,4]"]),
        bad(shaped([1 << 32, 1 << 32]), &["'pair'", "'INPUT0'", "more elements than can be"]),
        bad(shaped([u64::MAX, 1]), &["'pair'", "'INPUT0'"]),
        bad(shaped([0, u64::MAX]), &["'pair'", "'INPUT0'"]),
        bad(vec![0; crate::BODY_LIMIT + 1], &["8192"]).gets(413),
    ];
    all_refused(&server, &mut client, &rows).await;
}

/// Every word of a good buffer made greatest, least and one: refused or answered, and never worse.
#[tokio::test]
async fn with_each_word_changed() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let good_buffer = buffer();
    for at in (0..good_buffer.len() - 3).step_by(4) {
        for value in [u32::MAX, 1 << 31, 1] {
            let mut body = good_buffer.clone();
            body[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let answer = server.connect().await.unwrap().request(INFER, &TYPE, &body).await.unwrap();
            assert!([200, 400, 404].contains(&answer.status), "word at {at} made {value}: {}", answer.text());
        }
    }
    crate::send::good(&server, &mut client).await;
}
