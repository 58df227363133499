use std::time::Duration;

use adulis_protocol::grpc::{ModelMetadataRequest, ModelMetadataResponse};
use adulis_tensor::ShapePattern;
use adulis_types::ModelRef;
use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use prost::Message;
use serde::Deserialize;

use crate::client::Keep;
use crate::codec::{get_request, metadata_headers, model_path};
use crate::connect::Connector;
use crate::data::InputSpec;
use crate::grpc::{GrpcClient, GrpcConnection, frame};
use crate::http1::Http1Client;
use crate::target::{Protocol, Target};

const MODEL_METADATA: &str = "/inference.GRPCInferenceService/ModelMetadata";

/// One tensor of the metadata, as REST has it.
#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Deserialize)]
struct Model {
    inputs: Vec<Tensor>,
}

/// How a server is asked.
pub(crate) struct Asking<'a> {
    pub(crate) connector: Connector,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    pub(crate) timeout: Duration,
}

/// Asks `target` what inputs `model` has.
///
/// # Errors
/// Where the server does not answer, does not have the model, or tells a datatype that the protocol lacks.
pub(crate) async fn model_inputs(
    target: &Target,
    model: &ModelRef,
    asking: Asking<'_>,
) -> anyhow::Result<Vec<InputSpec>> {
    let tensors = match target.protocol {
        Protocol::Grpc => over_grpc(model, asking).await,
        Protocol::RestJson | Protocol::RestBinary => over_rest(target, model, asking).await,
    }
    .with_context(|| format!("no metadata of model `{}` from {}", model.name, target.url))?;
    tensors
        .into_iter()
        .map(|tensor| {
            let datatype = tensor
                .datatype
                .parse()
                .with_context(|| format!("input `{}` has datatype `{}`", tensor.name, tensor.datatype))?;
            Ok(InputSpec {
                name: tensor.name,
                datatype,
                shape: ShapePattern::new(&tensor.shape),
                optional: tensor.optional,
            })
        })
        .collect()
}

async fn over_rest(target: &Target, model: &ModelRef, asking: Asking<'_>) -> anyhow::Result<Vec<Tensor>> {
    let Asking { connector, headers, timeout } = asking;
    let request = get_request(target, &model_path(target, model), headers);
    let mut client = Http1Client::new(connector, timeout);
    let answer = client.call(&request, Keep::Body).await?;
    let model: Model = serde_json::from_slice(&answer.body).context("the answer is no model metadata")?;
    Ok(model.inputs)
}

async fn over_grpc(model: &ModelRef, asking: Asking<'_>) -> anyhow::Result<Vec<Tensor>> {
    let Asking { connector, headers, timeout } = asking;
    let message = ModelMetadataRequest {
        name: model.name.to_string(),
        version: model.version.map(|version| version.to_string()).unwrap_or_default(),
    };
    let framed: Bytes =
        frame(&message.encode_to_vec()).ok_or_else(|| anyhow!("the model's name is too long"))?;
    let connection = GrpcConnection::new(connector);
    let mut client = GrpcClient::new(connection, MODEL_METADATA, &metadata_headers(headers), timeout)?;
    let answer = client.call(&framed, Keep::Body).await?;
    let model = ModelMetadataResponse::decode(&answer.body[..]).context("the answer is no model metadata")?;
    let tensors = model.inputs.into_iter().map(|tensor| Tensor {
        name: tensor.name,
        datatype: tensor.datatype,
        shape: tensor.shape,
        optional: false,
    });
    Ok(tensors.collect())
}
