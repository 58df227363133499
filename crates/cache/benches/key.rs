//! What a key costs: BLAKE3 as it is used, beside XXH3-128 over the same bytes.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use adulis_cache::{ModelDigest, Question};
use adulis_tensor::{DataType, Shape, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn keys(criterion: &mut Criterion) {
    let keys = ModelDigest::new("model", 1).finish();
    let mut group = criterion.benchmark_group("key");
    for (rows, width) in [(1, 16), (1, 64), (32, 64), (1, 150_528)] {
        let data: Vec<u8> =
            (0..rows * width * 4).map(|value: usize| (value % 251).to_le_bytes()[0]).collect();
        group.throughput(Throughput::Bytes(data.len() as u64));
        let tensor = Tensor::new(DataType::Fp32, Shape::from([rows, width]), data.clone().into()).unwrap();
        let inputs = [(0, tensor)];
        let name = format!("{rows}x{width}");
        group.bench_function(format!("{name}/blake3"), |bencher| {
            let question = Question { inputs: &inputs, rows: Some(rows), outputs: None, told: None };
            bencher.iter(|| keys.of(black_box(&question)));
        });
        group.bench_function(format!("{name}/xxh3_128"), |bencher| {
            bencher.iter(|| xxhash_rust::xxh3::xxh3_128_with_seed(black_box(&data), 7));
        });
    }
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
