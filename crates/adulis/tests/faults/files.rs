//! Model files that are damaged, in either engine: their models say so, and no other notices.

use adulis_testing::{TestRepository, TestServer};

use crate::support::serve;

/// A field of a Protocol Buffers message that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

/// A field that holds a number.
fn number(number: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![number << 3];
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// A model whose only weight is declared to have 2⁴⁰ floats, and has none of them.
fn huge() -> Vec<u8> {
    let weight = [number(1, 1 << 40), number(2, 1), field(8, b"W")].concat();
    let node = [field(1, b"W"), field(2, b"OUT"), field(4, b"Identity")].concat();
    let value = |name: &[u8]| {
        let tensor = number(1, 1);
        [field(1, name), field(2, &field(1, &tensor))].concat()
    };
    let graph = [
        field(1, &node),
        field(2, b"g"),
        field(5, &weight),
        field(12, &value(b"OUT")),
    ]
    .concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}

/// Bits are flipped, other ones for each seed: sixteen anywhere, most of them in weights, or two at the beginning, where the
/// graph is.
fn flipped(whole: &[u8], seed: u64) -> Vec<u8> {
    let (mut bytes, mut state) = (whole.to_vec(), 0x9e37_79b9_7f4a_7c15 ^ (seed + 1));
    let (flips, reach) = if seed.is_multiple_of(2) { (16, bytes.len()) } else { (2, 2048) };
    for _ in 0..flips {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = usize::try_from(state >> 8).unwrap() % reach;
        bytes[at] ^= 1 << (state & 7);
    }
    bytes
}

const FLIPPED: u64 = 24;

async fn damaged_files_harm_nobody_else(engine: &str) {
    let good = format!("{}/../../examples/models/digits", env!("CARGO_MANIFEST_DIR"));
    let request = std::fs::read_to_string(format!("{good}/request.json")).unwrap();
    let good = std::fs::read(format!("{good}/1/model.onnx")).unwrap();
    let repository = TestRepository::new().unwrap();
    repository.onnx("good", &good).unwrap();
    let bad = [
        ("cut", good[..good.len() / 2].to_vec()),
        ("zeros", vec![0; good.len()]),
        ("zero_tail", [&good[..good.len() / 2], &vec![0; good.len() / 2]].concat()),
        ("huge", huge()),
    ];
    for (name, content) in &bad {
        repository.onnx(name, content).unwrap();
    }
    for seed in 0..FLIPPED {
        repository.onnx(&format!("flipped_{seed}"), &flipped(&good, seed)).unwrap();
    }
    let server = serve(&repository, &["--engine", engine]);
    server.logged(&["not ready: see the models"]).await;
    let status = async |server: &TestServer, model: &str| {
        let answer = server.infer(model, &[], &request).await.unwrap();
        (answer.status, answer.text())
    };
    let (code, told) = status(&server, "good").await;
    assert_eq!(code, 200, "{told}");
    for (name, _) in &bad {
        let (code, told) = status(&server, name).await;
        let expected = format!("model '{name}' is not ready: failed to load: ");
        assert!(code == 503 && told.contains(&expected), "{name}: {code} {told}");
    }
    // One flipped in its weights is a model like any other; what it says is another matter.
    let mut refused = 0;
    for seed in 0..FLIPPED {
        let (code, told) = status(&server, &format!("flipped_{seed}")).await;
        assert!([200, 400, 500, 503].contains(&code), "{seed}: {code} {told}");
        refused += usize::from(code != 200);
    }
    assert!(refused > 0, "no bit mattered");
    assert_eq!(status(&server, "good").await.0, 200);
    // What is declared is not reserved.
    assert!(server.metric("process_resident_memory_bytes", &[]).await.unwrap() < 1e9);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn damaged_files_harm_nobody_else_in_tract() {
    damaged_files_harm_nobody_else("tract").await;
}

#[tokio::test]
async fn damaged_files_harm_nobody_else_in_onnx_runtime() {
    damaged_files_harm_nobody_else("onnxruntime").await;
}
