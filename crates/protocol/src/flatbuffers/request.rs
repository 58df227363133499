use adulis_types::{
    CacheDirective, InferRequest, InputTensor, ModelRef, Name, ParameterValue, RequestedOutput, SharedInput,
};
use bytes::Bytes;
use smallvec::SmallVec;

use super::parameter;
use super::table::{Reader, Table};
use super::tensor::{self, Found, Source};
use super::writer::{Field, Writer};
use crate::error::Parsed;
use crate::generated::infer::infer_request::{ID, INPUTS, MODEL_NAME, MODEL_VERSION, OUTPUTS, PARAMETERS};
use crate::generated::infer::tensor::DATA_ALIGNMENT;
use crate::generated::infer::{FILE_IDENTIFIER, requested_output};
use crate::parameters::{self, CACHE_CONTROL, PRIORITY, TIMEOUT, Wishes, take_fields};
use crate::rest::RestRequest;
use crate::tensors::{check_names, input_names};
use crate::version::agree;
use crate::{DecodeError, EncodeError, MAX_TENSORS, Side, TensorLabel, TensorProblem, sequence};

/// Decodes a body that is an `InferRequest`, asked of `model`. Where the buffer names a model too, it is the same one.
/// The format is that of an answer in JSON, which is one with every output in it.
///
/// Cost: independent of the tensors' lengths, but for BOOL and BYTES, which are looked through; tensors are slices of `body`,
/// not copied.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
pub fn decode_infer(model: ModelRef, body: &Bytes) -> Result<RestRequest, DecodeError> {
    let mut request = InferRequest::new(model);
    match fill(&mut request, body) {
        Ok(wishes) => Ok(RestRequest { request, format: wishes.in_json() }),
        Err(problem) => Err(DecodeError::new(request.model.name, problem)),
    }
}

fn fill(request: &mut InferRequest, body: &Bytes) -> Parsed<Wishes> {
    let reader = Reader::new(body);
    let root = reader.root(FILE_IDENTIFIER)?;
    read_model(&mut request.model, &root)?;
    request.id = root.text(ID)?.into();
    let (what, limit) = parameter::LIST;
    request.parameters = parameter::read_all(root.tables(PARAMETERS, what, limit)?)?;
    let wishes = take_fields(request)?;

    let inputs = root.tables(INPUTS, Side::Input.plural(), MAX_TENSORS)?;
    request.inputs.reserve_exact(inputs.len());
    for (index, table) in inputs.iter().enumerate() {
        match tensor::read(&table?, (Side::Input, index), body)? {
            (name, Found::Here(tensor)) => request.inputs.push(InputTensor { name, tensor }),
            (name, Found::Shared { datatype, shape, place }) => {
                request.shared_inputs.push(SharedInput { index, name, datatype, shape, place });
            }
        }
    }
    check_names(Side::Input, input_names(request))?;

    let outputs = root.tables(OUTPUTS, Side::Output.plural(), MAX_TENSORS)?;
    request.outputs.reserve_exact(outputs.len());
    for (index, table) in outputs.iter().enumerate() {
        request.outputs.push(read_output(&table?, index)?);
    }
    check_names(Side::Output, request.outputs.iter().map(|output| &output.name))?;
    Ok(wishes)
}

/// Checks the model that the buffer names against the one that the path does.
fn read_model(model: &mut ModelRef, root: &Table<'_>) -> Parsed<()> {
    let name = root.text(MODEL_NAME)?;
    let version = root.number(MODEL_VERSION)?.map(u64::from_le_bytes).filter(|&version| version > 0);
    agree(model, if name.is_empty() { &model.name } else { name }, version)?;
    model.version = model.version.or(version);
    Ok(())
}

fn read_output(table: &Table<'_>, index: usize) -> Parsed<RequestedOutput> {
    let name = Name::from(table.text(requested_output::NAME)?);
    if name.is_empty() {
        let label = TensorLabel { side: Side::Output, index, name: None };
        return Err(label.problem(TensorProblem::Missing { key: "name" }));
    }
    let (what, limit) = parameter::LIST;
    let list = parameter::read_all(table.tables(requested_output::PARAMETERS, what, limit)?)?;
    let (output, _) = parameters::requested_output(name, index, list)?;
    Ok(output)
}

/// Encodes a request, as a client sends it.
///
/// Cost: inputs of more than a kilobyte are pieces of the body as they are, not copied; each lies on a boundary of 64 bytes.
///
/// # Errors
/// [`EncodeError::TooLong`] for more than FlatBuffers can be.
pub fn encode_request(request: &InferRequest) -> Result<SmallVec<[Bytes; 4]>, EncodeError> {
    let mut writer = Writer::new(FILE_IDENTIFIER);
    let version = request.model.version.unwrap_or(0).to_le_bytes();
    let links = writer.table(
        0,
        &[
            (MODEL_NAME, Field::Link),
            (MODEL_VERSION, Field::Long(version)),
            (ID, Field::Link),
            (PARAMETERS, Field::Link),
            (INPUTS, Field::Link),
            (OUTPUTS, Field::Link),
        ],
    );
    writer.text(links[0], &request.model.name);
    writer.text(links[1], &request.id);
    write_parameters(&mut writer, links[2], request);
    write_inputs(&mut writer, links[3], request);
    let outputs = writer.tables(links[4], request.outputs.len());
    for (link, output) in outputs.zip(&request.outputs) {
        write_output(&mut writer, link, output);
    }
    writer
        .finish(DATA_ALIGNMENT)
        .map_err(|length| EncodeError::TooLong { model: request.model.name.clone(), length })
}

fn write_parameters(writer: &mut Writer, link: usize, request: &InferRequest) {
    let mut parameters = request.parameters.clone();
    if request.priority > 0 {
        parameters.set(PRIORITY, ParameterValue::count(request.priority));
    }
    if let Some(timeout) = request.timeout {
        let microseconds = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        parameters.set(TIMEOUT, ParameterValue::count(microseconds));
    }
    if let Some(sequence) = &request.sequence {
        for (name, value) in sequence::parameters(sequence).iter() {
            parameters.set(name, value.clone());
        }
    }
    if request.cache != CacheDirective::Use {
        parameters.set(CACHE_CONTROL, ParameterValue::String(request.cache.as_str().into()));
    }
    parameter::write_all(writer, link, &parameters);
}

fn write_inputs(writer: &mut Writer, link: usize, request: &InferRequest) {
    let here = request.inputs.iter().map(|input| Source {
        name: &input.name,
        datatype: input.tensor.datatype(),
        shape: input.tensor.shape(),
        place: None,
        data: input.tensor.data().clone(),
    });
    let shared = request.shared_inputs.iter().map(|input| Source {
        name: &input.name,
        datatype: input.datatype,
        shape: &input.shape,
        place: Some(&input.place),
        data: Bytes::new(),
    });
    let links = writer.tables(link, request.inputs.len() + request.shared_inputs.len());
    for (link, source) in links.zip(here.chain(shared)) {
        tensor::write(writer, link, source);
    }
}

fn write_output(writer: &mut Writer, link: usize, output: &RequestedOutput) {
    let fields = [
        (requested_output::NAME, Field::Link),
        (requested_output::PARAMETERS, Field::Link),
    ];
    let links = writer.table(link, &fields);
    writer.text(links[0], &output.name);
    parameter::write_all(writer, links[1], &parameters::of_output(output));
}
