//! A batch and what it gave, as the heads of frames. Their tensors' bytes are the frames' bodies.

use std::time::Duration;

use adulis_backend::{BatchInput, BatchRequest};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{Name, ParameterValue, Parameters, Sequence, SequenceId};
use bytes::Bytes;

use crate::link::Link;
use crate::wire::{Reader, Writer};

/// Most dimensions of a tensor.
const MAX_RANK: u8 = 64;
/// Least bytes of a tensor's description: datatype, rank, length.
const TENSOR_BYTES: usize = 10;
/// Least bytes of a request's description: three lengths or counts, and a flag.
const REQUEST_BYTES: usize = 25;
/// Least bytes of a parameter: its name's length, its kind, a flag.
const PARAMETER_BYTES: usize = 10;

/// A tensor as it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) datatype: DataType,
    pub(crate) shape: Shape,
    pub(crate) bytes: usize,
}

/// A batch as it is announced: each input with its index in the signature.
#[derive(Debug, Clone)]
pub(crate) struct RunHead {
    pub(crate) inputs: Vec<(usize, Announced)>,
    pub(crate) requests: Vec<BatchRequest>,
}

/// What a batch gave, as it is announced.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RanHead {
    pub(crate) outputs: Vec<Announced>,
    pub(crate) parameters: Vec<Parameters>,
    /// What the worker took for it, as [`adulis_backend::Execution`] has it.
    pub(crate) times: [Duration; 3],
}

impl Announced {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        Self {
            datatype: tensor.datatype(),
            shape: tensor.shape().clone(),
            bytes: tensor.data().len(),
        }
    }

    pub(crate) fn of_input(input: &BatchInput) -> Self {
        Self {
            datatype: input.datatype,
            shape: input.shape.clone(),
            bytes: input.chunks().map(<[u8]>::len).sum(),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let datatype = DataType::ALL.iter().position(|datatype| *datatype == self.datatype);
        writer.u8(datatype.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX));
        writer.u8(u8::try_from(self.shape.len()).unwrap_or(u8::MAX));
        self.shape.iter().for_each(|dimension| writer.size(*dimension));
        writer.size(self.bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let datatype = *DataType::ALL.get(usize::from(reader.u8()?))?;
        let rank = reader.u8().filter(|rank| *rank <= MAX_RANK)?;
        let shape = (0..rank).map(|_| reader.size()).collect::<Option<Shape>>()?;
        let bytes = reader.size()?;
        Some(Self { datatype, shape, bytes })
    }

    /// Reads the tensor's bytes from the body of the frame that announced it, and checks that they are what it says.
    pub(crate) fn receive(self, link: &mut Link) -> std::io::Result<Tensor> {
        // Before any memory is set aside for it.
        Tensor::check_length(self.datatype, &self.shape, self.bytes).map_err(odd)?;
        let data = Bytes::from_owner(link.take(self.bytes)?);
        Tensor::new(self.datatype, self.shape, data).map_err(odd)
    }
}

fn odd(error: adulis_tensor::TensorError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

/// Writes the head of a batch: each input with its index in the signature.
pub(crate) fn write_run(
    out: &mut Vec<u8>,
    inputs: impl ExactSizeIterator<Item = (usize, Announced)>,
    requests: &[BatchRequest],
) {
    let mut writer = Writer(out);
    writer.size(inputs.len());
    for (index, input) in inputs {
        writer.size(index);
        input.write(&mut writer);
    }
    writer.size(requests.len());
    for BatchRequest { id, parameters, sequence, rows } in requests {
        writer.text(id);
        write_parameters(&mut writer, parameters);
        write_sequence(&mut writer, sequence.as_ref());
        writer.size(*rows);
    }
}

/// Reads what [`write_run`] wrote; `None` for anything else.
pub(crate) fn read_run(head: &[u8]) -> Option<RunHead> {
    let mut reader = Reader(head);
    let inputs = reader.count(8 + TENSOR_BYTES)?;
    let inputs = (0..inputs).map(|_| Some((reader.size()?, Announced::read(&mut reader)?)));
    let inputs = inputs.collect::<Option<Vec<_>>>()?;
    let requests = reader.count(REQUEST_BYTES)?;
    let requests = (0..requests).map(|_| read_request(&mut reader)).collect::<Option<Vec<_>>>()?;
    reader.end()?;
    Some(RunHead { inputs, requests })
}

fn read_request(reader: &mut Reader<'_>) -> Option<BatchRequest> {
    let id = Name::from(reader.text()?);
    let parameters = read_parameters(reader)?;
    let sequence = read_sequence(reader)?;
    Some(BatchRequest { id, parameters, sequence, rows: reader.size()? })
}

/// Writes the head of what a batch gave.
pub(crate) fn write_ran(out: &mut Vec<u8>, ran: &RanHead) {
    let mut writer = Writer(out);
    for time in ran.times {
        writer.u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
    writer.size(ran.outputs.len());
    ran.outputs.iter().for_each(|output| output.write(&mut writer));
    writer.size(ran.parameters.len());
    ran.parameters.iter().for_each(|parameters| write_parameters(&mut writer, parameters));
}

/// Reads what [`write_ran`] wrote; `None` for anything else.
pub(crate) fn read_ran(head: &[u8]) -> Option<RanHead> {
    let mut reader = Reader(head);
    let mut times = [Duration::ZERO; 3];
    for time in &mut times {
        *time = Duration::from_nanos(reader.u64()?);
    }
    let outputs = reader.count(TENSOR_BYTES)?;
    let outputs = (0..outputs).map(|_| Announced::read(&mut reader)).collect::<Option<Vec<_>>>()?;
    let parameters = reader.count(8)?;
    let parameters = (0..parameters).map(|_| read_parameters(&mut reader)).collect::<Option<Vec<_>>>()?;
    reader.end()?;
    Some(RanHead { outputs, parameters, times })
}

fn write_parameters(writer: &mut Writer<'_>, parameters: &Parameters) {
    writer.size(parameters.iter().count());
    for (name, value) in parameters.iter() {
        writer.text(name);
        match value {
            ParameterValue::Bool(value) => {
                writer.u8(0);
                writer.u8(u8::from(*value));
            }
            ParameterValue::Int64(value) => {
                writer.u8(1);
                writer.u64(value.cast_unsigned());
            }
            ParameterValue::Uint64(value) => {
                writer.u8(2);
                writer.u64(*value);
            }
            ParameterValue::Double(value) => {
                writer.u8(3);
                writer.u64(value.to_bits());
            }
            ParameterValue::String(value) => {
                writer.u8(4);
                writer.text(value);
            }
        }
    }
}

fn read_parameters(reader: &mut Reader<'_>) -> Option<Parameters> {
    let count = reader.count(PARAMETER_BYTES)?;
    let read = (0..count).map(|_| Some((Name::from(reader.text()?), read_value(reader)?)));
    // Nobody who writes parameters has a name twice.
    Parameters::distinct(read.collect::<Option<Vec<_>>>()?)
}

fn read_value(reader: &mut Reader<'_>) -> Option<ParameterValue> {
    Some(match reader.u8()? {
        0 => ParameterValue::Bool(match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        }),
        1 => ParameterValue::Int64(reader.u64()?.cast_signed()),
        2 => ParameterValue::Uint64(reader.u64()?),
        3 => ParameterValue::Double(f64::from_bits(reader.u64()?)),
        4 => ParameterValue::String(Name::from(reader.text()?)),
        _ => return None,
    })
}

const START: u8 = 1;
const END: u8 = 2;
const NUMBER: u8 = 4;
const TEXT: u8 = 8;

fn write_sequence(writer: &mut Writer<'_>, sequence: Option<&Sequence>) {
    let Some(Sequence { id, start, end }) = sequence else {
        return writer.u8(0);
    };
    let flags = if *start { START } else { 0 } | if *end { END } else { 0 };
    match id {
        SequenceId::Number(number) => {
            writer.u8(flags | NUMBER);
            writer.u64(*number);
        }
        SequenceId::Text(text) => {
            writer.u8(flags | TEXT);
            writer.text(text);
        }
    }
}

fn read_sequence(reader: &mut Reader<'_>) -> Option<Option<Sequence>> {
    let flags = reader.u8()?;
    let id = match flags & !(START | END) {
        0 if flags == 0 => return Some(None),
        NUMBER => SequenceId::Number(reader.u64()?),
        TEXT => SequenceId::Text(Name::from(reader.text()?)),
        _ => return None,
    };
    Some(Some(Sequence { id, start: flags & START != 0, end: flags & END != 0 }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::default();
        parameters.set("flag", ParameterValue::Bool(true));
        parameters.set("below", ParameterValue::Int64(i64::MIN));
        parameters.set("above", ParameterValue::Uint64(u64::MAX));
        parameters.set("share", ParameterValue::Double(f64::NEG_INFINITY));
        parameters.set("é", ParameterValue::String("".into()));
        parameters
    }

    fn requests() -> Vec<BatchRequest> {
        let sequence = |id, start, end| Some(Sequence { id, start, end });
        let request =
            |id: &str, sequence| BatchRequest { id: id.into(), parameters: parameters(), sequence, rows: 3 };
        vec![
            request("", None),
            request("x", sequence(SequenceId::Number(7), true, false)),
            request("y", sequence(SequenceId::Text("seven".into()), false, true)),
        ]
    }

    #[test]
    fn a_batch_reads_back_the_same() {
        let tensor = |rows: usize| {
            Tensor::new(DataType::Uint16, Shape::from([rows, 2]), Bytes::from(vec![1; rows * 4])).unwrap()
        };
        let input = BatchInput {
            index: 5,
            name: "in".into(),
            datatype: DataType::Uint16,
            shape: Shape::from([3, 2]),
            parts: vec![tensor(1), tensor(2)],
        };
        let mut head = Vec::new();
        write_run(&mut head, [(5, Announced::of_input(&input))].into_iter(), &requests());
        let read = read_run(&head).unwrap();
        let announced = Announced { datatype: DataType::Uint16, shape: Shape::from([3, 2]), bytes: 12 };
        assert_eq!(read.inputs, [(5, announced)]);
        let told = |requests: &[BatchRequest]| format!("{requests:?}");
        assert_eq!(told(&read.requests), told(&requests()));
    }

    #[test]
    fn what_it_gave_reads_back_the_same() {
        let ran = RanHead {
            outputs: vec![Announced { datatype: DataType::Bytes, shape: Shape::from([]), bytes: 4 }],
            parameters: vec![Parameters::default(), parameters()],
            times: [1, 2, 3].map(Duration::from_nanos),
        };
        let mut head = Vec::new();
        write_ran(&mut head, &ran);
        assert_eq!(read_ran(&head), Some(ran));
        head.push(0);
        assert_eq!(read_ran(&head), None);
    }

    /// The head of an answer with these names of parameters.
    fn naming(names: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
        let mut head = Vec::new();
        let mut writer = Writer(&mut head);
        [0, 0, 0, 0, 1].into_iter().for_each(|number| writer.u64(number));
        writer.size(names.len());
        for name in names {
            writer.text(&name);
            writer.u8(0);
            writer.u8(1);
        }
        head
    }

    #[test]
    fn a_worker_that_names_very_many_parameters_costs_no_more_than_their_bytes() {
        let count = 300_000_u32;
        let begun = std::time::Instant::now();
        let ran = read_ran(&naming((0..count).map(|number| number.to_string()))).unwrap();
        assert_eq!(ran.parameters[0].iter().count(), 300_000);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let twice = ["a", "b", "a"].map(str::to_owned);
        assert_eq!(read_ran(&naming(twice.into_iter())), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(head: Vec<u8>) {
            let _ = (read_run(&head), read_ran(&head));
        }

        #[test]
        fn damaged_heads_are_read_or_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut head = Vec::new();
            write_run(&mut head, [].into_iter(), &requests());
            let place = at.index(head.len());
            head[place] = byte;
            let _ = read_run(&head[..cut.index(head.len() + 1)]);
        }
    }
}
