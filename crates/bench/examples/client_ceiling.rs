//! What other Rust clients reach in the same closed loop, one thread, the same bytes: the reason why the load generator
//! has clients of its own. See docs/bench.md.
//!
//! `cargo run --release -p adulis-bench --example client_ceiling -- hyper 127.0.0.1:9100 64`
//! `cargo run --release -p adulis-bench --example client_ceiling -- tonic 127.0.0.1:9101 64`

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use adulis_protocol::grpc::{GrpcInferenceServiceClient, ModelInferRequest};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InputTensor, ModelRef};
use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long each client is measured, after half a second of warm-up.
const INTERVAL: Duration = Duration::from_secs(3);

/// Streams per HTTP/2 connection, as the load generator has by default.
const STREAMS: usize = 8;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, address, connections] = &arguments[..] else {
        bail!("expected: hyper|tonic HOST:PORT CONCURRENCY");
    };
    let connections: usize = connections.parse().context("CONCURRENCY")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let count = Rc::new(Cell::new(0_u64));
    let rate = local.block_on(&runtime, async {
        for index in 0..connections {
            match client.as_str() {
                "hyper" => {
                    tokio::task::spawn_local(hyper_loop(address.clone(), Rc::clone(&count)));
                }
                "tonic" if index % STREAMS == 0 => {
                    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
                        .connect()
                        .await?;
                    for _ in index..connections.min(index + STREAMS) {
                        let client = GrpcInferenceServiceClient::new(channel.clone());
                        tokio::task::spawn_local(tonic_loop(client, Rc::clone(&count)));
                    }
                }
                "tonic" => {}
                other => bail!("`{other}`: expected hyper or tonic"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (began, before) = (Instant::now(), count.get());
        tokio::time::sleep(INTERVAL).await;
        let requests = u32::try_from(count.get() - before)?;
        anyhow::Ok(f64::from(requests) / began.elapsed().as_secs_f64())
    })?;
    eprintln!("{client}, {connections} in flight: {rate:.0} requests/s");
    Ok(())
}

/// The identity of 16 FP32 values, as the load generator sends it.
fn request() -> anyhow::Result<InferRequest> {
    let mut request = InferRequest::new(ModelRef::latest("raw"));
    request.inputs.push(InputTensor {
        name: "X".into(),
        tensor: Tensor::new(DataType::Fp32, Shape::from([1, 16]), vec![0x3e; 64].into())?,
    });
    Ok(request)
}

async fn hyper_loop(address: String, count: Rc<Cell<u64>>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    let body = adulis_protocol::rest::encode_request(&request()?, true, true);
    let header_length = body.header_length.context("a binary request has a header length")?;
    let body = body.into_bytes();
    loop {
        let request = Request::post("/echo")
            .header("host", &address)
            .header("content-type", "application/octet-stream")
            .header("inference-header-content-length", header_length)
            .body(Full::new(body.clone()))?;
        let mut answer = sender.send_request(request).await?.into_body();
        while let Some(frame) = answer.frame().await {
            frame?;
        }
        count.set(count.get() + 1);
    }
}

async fn tonic_loop(
    mut client: GrpcInferenceServiceClient<tonic::transport::Channel>,
    count: Rc<Cell<u64>>,
) -> anyhow::Result<()> {
    let message: ModelInferRequest = adulis_protocol::grpc::encode_request(&request()?);
    loop {
        client.model_infer(message.clone()).await?;
        count.set(count.get() + 1);
    }
}
