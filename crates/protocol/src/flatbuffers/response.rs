use adulis_types::{InferResponse, Name, OutputTensor, Parameters, StageTimings};
use bytes::Bytes;
use smallvec::SmallVec;

use super::parameter;
use super::table::Reader;
use super::tensor::{self, Found, Source};
use super::writer::{Field, Writer};
use crate::error::Parsed;
use crate::generated::infer::FILE_IDENTIFIER;
use crate::generated::infer::infer_response::{ID, MODEL_NAME, MODEL_VERSION, OUTPUTS, PARAMETERS};
use crate::generated::infer::tensor::DATA_ALIGNMENT;
use crate::{DecodeError, EncodeError, MAX_TENSORS, Side, TensorLabel, TensorProblem};

/// Encodes a response. Outputs that are in shared memory say where, and no more.
///
/// Cost: outputs of more than a kilobyte are pieces of the body as they are, not copied; each lies on a boundary of 64 bytes.
///
/// # Errors
/// [`EncodeError::TooLong`] for more than FlatBuffers can be.
pub fn encode_infer(response: InferResponse) -> Result<SmallVec<[Bytes; 4]>, EncodeError> {
    let mut writer = Writer::new(FILE_IDENTIFIER);
    let links = writer.table(
        0,
        &[
            (MODEL_NAME, Field::Link),
            (MODEL_VERSION, Field::Long(response.model_version.to_le_bytes())),
            (ID, Field::Link),
            (PARAMETERS, Field::Link),
            (OUTPUTS, Field::Link),
        ],
    );
    writer.text(links[0], &response.model_name);
    writer.text(links[1], &response.id);
    parameter::write_all(&mut writer, links[2], &response.parameters);
    let outputs = writer.tables(links[3], response.outputs.len());
    for (link, output) in outputs.zip(response.outputs) {
        let source = Source {
            name: &output.name,
            datatype: output.tensor.datatype(),
            shape: output.tensor.shape(),
            place: output.written.as_deref(),
            data: output.tensor.data().clone(),
        };
        tensor::write(&mut writer, link, source);
    }
    let model = || Name::from(&*response.model_name);
    writer
        .finish(DATA_ALIGNMENT)
        .map_err(|length| EncodeError::TooLong { model: model(), length })
}

/// Decodes the body of a response, as a client receives it. Stage timings do not travel and are zero.
///
/// Cost: tensors are slices of `body`, not copied.
///
/// # Errors
/// [`DecodeError`] naming the model, the output, what was expected and what came.
pub fn decode_response(body: &Bytes) -> Result<InferResponse, DecodeError> {
    let mut response = InferResponse {
        model_name: "".into(),
        model_version: 0,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: Vec::new(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    match fill(&mut response, body) {
        Ok(()) => Ok(response),
        Err(problem) => Err(DecodeError::new(&*response.model_name, problem)),
    }
}

fn fill(response: &mut InferResponse, body: &Bytes) -> Parsed<()> {
    let reader = Reader::new(body);
    let root = reader.root(FILE_IDENTIFIER)?;
    response.model_name = root.text(MODEL_NAME)?.into();
    response.model_version = root.number(MODEL_VERSION)?.map_or(0, u64::from_le_bytes);
    response.id = root.text(ID)?.into();
    let (what, limit) = parameter::LIST;
    response.parameters = parameter::read_all(root.tables(PARAMETERS, what, limit)?)?;
    let outputs = root.tables(OUTPUTS, Side::Output.plural(), MAX_TENSORS)?;
    for (index, table) in outputs.iter().enumerate() {
        match tensor::read(&table?, (Side::Output, index), body)? {
            (name, Found::Here(tensor)) => {
                response.outputs.push(OutputTensor::new(name.as_str(), tensor));
            }
            (name, Found::Shared { .. }) => {
                let label = TensorLabel { side: Side::Output, index, name: Some(name) };
                return Err(label.problem(TensorProblem::InSharedMemory));
            }
        }
    }
    Ok(())
}
