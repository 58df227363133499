//! Tensors that lie in shared memory regions rather than in the message: read before a service is asked, written before its
//! response is encoded.

mod stream;
mod traced;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use adulis_tensor::Tensor;
use adulis_types::{
    AccessError, BoxFuture, ErrorKind, Fault, InferRequest, InferResponse, InputTensor, Name, OutputTensor,
    RegionPlace, RegionSlice, ResponseStream, Retry, Scope, ServiceError, Services, SharedInput,
    SharedMemory, one_response,
};
use smallvec::SmallVec;

use crate::error::Prefix;
use crate::shared::stream::SharedStream;
use crate::shared::traced::{ask, ask_stream};
use crate::tensors::binary_tensor;
use crate::{DecodeError, EncodeError, Side, TensorLabel, TensorProblem};

/// Has the service answer a decoded request, wherever its tensors are: inputs in shared memory are read first, and outputs
/// that belong there are written. Every frontend asks this way.
///
/// All places are looked up before anything is read, and stay open until the end, whoever unregisters their regions
/// meanwhile. Nothing is written unless all outputs have room. Cost: one copy of what is in shared memory, nothing for a
/// request that has nothing there.
///
/// # Errors
/// The service's; [`AccessError`] for an identity that may not use shared memory; [`DecodeError`] where there is none, an input's
/// data does not fit datatype and shape, or all inputs are too large together; [`EncodeError::SharedMemorySize`] for an output
/// that is longer than its place; else [`SharedTensorError`].
pub fn infer(services: &Services, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
    if request.shared_inputs.is_empty() && request.outputs.iter().all(|output| output.place.is_none()) {
        return ask(services, request);
    }
    Box::pin(async move {
        let mut request = request;
        let memory = services.shared_memory.as_deref();
        let opened = Opened::of(&request, memory)?;
        let outputs = opened.read(&mut request).await?;
        let mut response = ask(services, request).await?;
        write(&outputs, &mut response).await?;
        Ok(response)
    })
}

/// As [`infer`], for a request that may be answered any number of times: each answer's outputs are written to the places that
/// the request named, over those of the answer before.
///
/// # Errors
/// As [`infer`], as the stream's last item.
pub fn infer_stream(services: &Services, request: InferRequest) -> ResponseStream<'_> {
    if request.shared_inputs.is_empty() && request.outputs.iter().all(|output| output.place.is_none()) {
        return ask_stream(services, request);
    }
    let opened = match Opened::of(&request, services.shared_memory.as_deref()) {
        Ok(opened) => opened,
        Err(fault) => return one_response(Box::pin(std::future::ready(Err(fault)))),
    };
    Box::pin(SharedStream::new(services, opened, request))
}

/// All places that a request names, there.
struct Opened {
    inputs: Vec<Box<dyn RegionSlice>>,
    outputs: Outputs,
}

/// Outputs by name, and where they are to be written.
type Outputs = Vec<(Name, Box<dyn RegionSlice>)>;

impl Opened {
    fn of(request: &InferRequest, memory: Option<&dyn SharedMemory>) -> Result<Self, Fault> {
        let model = &request.model.name;
        // Regions belong to no identity: who may not register any reads and writes none of others either.
        let scope = Scope::SharedMemory;
        if let Some(identity) = request.identity.as_deref().filter(|identity| !identity.may(scope, None)) {
            return Err(AccessError::Scope { who: identity.into(), scope }.into());
        }
        let mut opened =
            Self { inputs: Vec::with_capacity(request.shared_inputs.len()), outputs: Vec::new() };
        let mut total = 0_u64;
        for input in &request.shared_inputs {
            check_length(input).map_err(|problem| refuse(model, label(input), problem))?;
            opened.inputs.push(open(memory, &input.place, (model, label(input)))?);
            total = total.saturating_add(input.place.byte_size);
            let limit = memory.map_or(0, SharedMemory::max_request_bytes);
            if total > limit {
                let problem = TensorProblem::SharedMemoryBytes { bytes: total, limit };
                return Err(refuse(model, label(input), problem).into());
            }
        }
        for (index, output) in request.outputs.iter().enumerate() {
            if let Some(place) = &output.place {
                let label = TensorLabel { side: Side::Output, index, name: Some(output.name.clone()) };
                opened.outputs.push((output.name.clone(), open(memory, place, (model, label))?));
            }
        }
        Ok(opened)
    }

    /// Reads the inputs into the request, each where it stood, and returns the places of the outputs.
    async fn read(self, request: &mut InferRequest) -> Result<Outputs, Fault> {
        let model = &request.model.name;
        for (input, slice) in std::mem::take(&mut request.shared_inputs).into_iter().zip(self.inputs) {
            let data = match slice.read().await {
                Ok(data) => data,
                Err(fault) => return Err(failed(model, label(&input), fault)),
            };
            // Checked now that nobody else can change it.
            let tensor = match binary_tensor(input.datatype, input.shape.clone(), data) {
                Ok(tensor) => tensor,
                Err(problem) => return Err(refuse(model, label(&input), problem).into()),
            };
            let index = input.index.min(request.inputs.len());
            request.inputs.insert(index, InputTensor { name: input.name, tensor });
        }
        Ok(self.outputs)
    }
}

/// Writes the outputs that belong into shared memory, and notes so in the response.
async fn write(outputs: &Outputs, response: &mut InferResponse) -> Result<(), Fault> {
    let model = Name::from(&*response.model_name);
    let place_of = |output: &OutputTensor| outputs.iter().find(|(name, _)| name == &*output.name);
    let mut found = SmallVec::<[_; 2]>::new();
    for (index, output) in response.outputs.iter().enumerate() {
        if let Some((_, slice)) = place_of(output) {
            check_room(&model, output, slice.place())?;
            found.push((index, slice));
        }
    }
    for (index, slice) in found {
        let output = &mut response.outputs[index];
        let data = output.tensor.data().clone();
        let byte_size = data.len() as u64;
        if let Err(fault) = slice.write(data).await {
            let label = TensorLabel { side: Side::Output, index, name: Some((&*output.name).into()) };
            return Err(failed(&model, label, fault));
        }
        output.written = Some(Box::new(RegionPlace { byte_size, ..slice.place().clone() }));
    }
    Ok(())
}

fn open(
    memory: Option<&dyn SharedMemory>,
    place: &RegionPlace,
    (model, label): (&Name, TensorLabel),
) -> Result<Box<dyn RegionSlice>, Fault> {
    match memory {
        Some(memory) => memory.open(place).map_err(|fault| failed(model, label, fault)),
        None => Err(refuse(model, label, TensorProblem::SharedMemory).into()),
    }
}

/// Whether the place has as many bytes as datatype and shape say.
fn check_length(input: &SharedInput) -> Result<(), TensorProblem> {
    // A length that cannot be addressed fits no shape, and no region.
    let length = usize::try_from(input.place.byte_size).unwrap_or(usize::MAX);
    Ok(Tensor::check_length(input.datatype, &input.shape, length)?)
}

/// Whether the place has enough bytes.
fn check_room(model: &Name, output: &OutputTensor, place: &RegionPlace) -> Result<(), EncodeError> {
    let needed = output.tensor.data().len();
    if needed as u64 <= place.byte_size {
        return Ok(());
    }
    Err(EncodeError::SharedMemorySize {
        model: model.clone(),
        output: (&*output.name).into(),
        region: place.region.clone(),
        needed,
        given: place.byte_size,
    })
}

fn label(input: &SharedInput) -> TensorLabel {
    TensorLabel { side: Side::Input, index: input.index, name: Some(input.name.clone()) }
}

fn refuse(model: &Name, label: TensorLabel, problem: TensorProblem) -> DecodeError {
    DecodeError::new(model.clone(), label.problem(problem))
}

fn failed(model: &Name, tensor: TensorLabel, fault: Fault) -> Fault {
    SharedTensorError { model: model.clone(), tensor, fault }.into()
}

/// That one tensor cannot be had from shared memory, or put there.
#[derive(Debug)]
pub struct SharedTensorError {
    /// The model.
    pub model: Name,
    /// The tensor.
    pub tensor: TensorLabel,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for SharedTensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", Prefix(&self.model), self.tensor, self.fault)
    }
}

impl Error for SharedTensorError {
    /// What is behind the fault, whose own words are this error's.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.error().source()
    }
}

impl ServiceError for SharedTensorError {
    fn kind(&self) -> ErrorKind {
        self.fault.kind()
    }

    fn retry(&self) -> Retry {
        self.fault.retry()
    }

    fn client_message(&self) -> Cow<'static, str> {
        let why = self.fault.client_message();
        format!("{}{}: {why}", Prefix(&self.model), self.tensor).into()
    }
}
