//! Classifies one real digit with Rust's standard library alone: a binary tensor over REST.
//!
//! ```sh
//! rustc --edition 2024 -o classify examples/clients/classify.rs && ./classify [localhost:8000]
//! ```
//!
//! A service would use an HTTP client of its choice; what it sends is the same. The response's body is JSON, since
//! this request asks for JSON outputs.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Scan 0 of `examples/models/digits/held_out.json`: a 7.
#[rustfmt::skip]
const IMAGE: [f32; 64] = [
    0., 0.,  5., 13., 16., 16., 6., 0.,
    0., 0., 12.,  6.,  4., 13., 9., 0.,
    0., 0.,  0.,  0.,  1., 15., 3., 0.,
    0., 0.,  0.,  2., 10., 13., 2., 0.,
    0., 2., 12., 16., 16., 12., 5., 0.,
    0., 1.,  6.,  9., 11.,  0., 0., 0.,
    0., 0.,  0., 15.,  1.,  0., 0., 0.,
    0., 0.,  6., 11.,  0.,  0., 0., 0.,
];

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "localhost:8000".to_owned());
    let header = concat!(
        r#"{"inputs":[{"name":"image","datatype":"FP32","shape":[1,1,8,8],"#,
        r#""parameters":{"binary_data_size":256}}],"outputs":[{"name":"label"}]}"#,
    );
    let pixels: Vec<u8> = IMAGE.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();

    let mut server = TcpStream::connect(&address)?;
    write!(
        server,
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Inference-Header-Content-Length: {}\r\n\r\n{header}",
        header.len() + pixels.len(),
        header.len(),
    )?;
    server.write_all(&pixels)?;

    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the server closed the connection early")?;
    println!("{}\n{body}", head.lines().next().unwrap_or_default());
    Ok(())
}
