use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{BatchInput, BatchRequest, Execution, ModelSignature};

use crate::fault::Fault;
use crate::frame::Kind;
use crate::link::{Link, invalid, is_too_large};
use crate::open::{Open, Opened};
use crate::process::Process;
use crate::run::{RanHead, read_ran, write_run};

/// An instance in a worker, from the server's side.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link,
    pub(crate) process: Arc<Process>,
    pub(crate) id: u64,
    /// The number of the last run.
    run: u64,
}

/// Why a worker has not done what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine says so.
    Said(Fault),
    /// The worker is gone, or as good as gone.
    Died(io::Error),
    /// It said what it must not.
    Violation(io::Error),
    /// It takes too long.
    Late,
    /// It was not asked at all: the batch is too large.
    TooLarge(io::Error),
}

impl Failure {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Violation(error),
            _ if is_too_large(&error) => Self::TooLarge(error),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Died(error),
        }
    }
}

impl Connection {
    /// Connects and has the worker make an instance, which loads the model where it is the first.
    pub(crate) fn open(
        process: &Arc<Process>,
        open: &Open,
        deadline: Instant,
    ) -> Result<(Self, Opened), Failure> {
        let (id, link) = process.connect(open.max_body_bytes).map_err(Failure::Died)?;
        let mut connection = Self { link, process: Arc::clone(process), id, run: 0 };
        let head = connection.ask(open, deadline)?;
        let opened = serde_json::from_slice(&head).map_err(|error| Failure::Violation(error.into()))?;
        Ok((connection, opened))
    }

    /// Asks a worker whether a backend can run in it.
    pub(crate) fn probe(process: &Arc<Process>, open: &Open, deadline: Instant) -> Result<(), Failure> {
        let (id, link) = process.connect(open.max_body_bytes).map_err(Failure::Died)?;
        Self { link, process: Arc::clone(process), id, run: 0 }.ask(open, deadline).map(drop)
    }

    /// Says what the connection is for. Gives the head of the answer.
    fn ask(&mut self, open: &Open, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let json = serde_json::to_vec(open).map_err(|error| {
            let reason = format!("it cannot be told to a worker: {error}");
            Failure::Said(Fault::Unsupported { what: reason })
        })?;
        let write = |head: &mut Vec<u8>| head.extend_from_slice(&json);
        self.link.send((Kind::Open, 0), write, std::iter::empty()).map_err(Failure::of)?;
        self.within(deadline)?;
        self.receive(Kind::Opened)?;
        self.link.end().map_err(Failure::of)?;
        self.link.set_timeout(None).map_err(Failure::of)?;
        Ok(self.link.head().to_vec())
    }

    fn within(&self, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.link.set_timeout(Some(left.max(Duration::from_millis(1)))).map_err(Failure::of)
    }

    /// Waits for the answer to what was sent last, which is to be of this kind.
    fn receive(&mut self, wanted: Kind) -> Result<(), Failure> {
        let received = self.link.receive().map_err(Failure::of)?;
        let received = received.ok_or_else(|| Failure::Died(io::ErrorKind::UnexpectedEof.into()))?;
        if received.run != self.run {
            return Err(Failure::Violation(invalid("it answers another run")));
        }
        match received.kind {
            kind if kind == wanted => Ok(()),
            Kind::Failed => {
                let fault = Fault::from_json(self.link.head());
                Err(fault
                    .map_or_else(|| Failure::Violation(invalid("its reason cannot be read")), Failure::Said))
            }
            _ => Err(Failure::Violation(invalid("it answers what was not asked"))),
        }
    }

    /// The number that the next run will have.
    pub(crate) fn next_run(&self) -> u64 {
        self.run + 1
    }

    /// Runs a batch. Gives what the worker says of its times as they are, and beside them how long handing over and back took.
    pub(crate) fn run(
        &mut self,
        signature: &ModelSignature,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<(Execution, Duration), Failure> {
        let begun = Instant::now();
        self.run += 1;
        let parts = inputs.iter().flat_map(|input| &input.parts).map(|part| &part.data()[..]);
        let write = |head: &mut Vec<u8>| write_run(head, inputs, requests);
        self.link.send((Kind::Run, self.run), write, parts).map_err(Failure::of)?;
        self.receive(Kind::Ran)?;
        let ran = read_ran(self.link.head());
        let ran = ran.ok_or_else(|| Failure::Violation(invalid("its answer cannot be read")))?;
        let mut execution = self.outputs(ran, signature, requests).map_err(Failure::of)?;
        let took = begun.elapsed();
        for time in [&mut execution.input, &mut execution.infer, &mut execution.output] {
            // It can't have been more.
            *time = (*time).min(took);
        }
        let computed = execution.input + execution.infer + execution.output;
        Ok((execution, took.saturating_sub(computed)))
    }

    /// The same within a time.
    pub(crate) fn run_within(
        &mut self,
        deadline: Instant,
        signature: &ModelSignature,
        inputs: &[BatchInput],
    ) -> Result<(), Failure> {
        self.within(deadline)?;
        self.run(signature, inputs, &[])?;
        self.link.set_timeout(None).map_err(Failure::of)
    }

    fn outputs(
        &mut self,
        ran: RanHead,
        signature: &ModelSignature,
        requests: &[BatchRequest],
    ) -> io::Result<Execution> {
        let RanHead { outputs, parameters, times: [input, infer, output] } = ran;
        let as_declared = outputs.len() == signature.outputs.len()
            && outputs
                .iter()
                .zip(&signature.outputs)
                .all(|(output, spec)| output.datatype == spec.datatype)
            && parameters.len() <= requests.len();
        if !as_declared {
            return Err(invalid("its outputs are not those of the model's signature"));
        }
        let outputs = outputs.into_iter().map(|output| output.receive(&mut self.link));
        let outputs = outputs.collect::<io::Result<Vec<_>>>()?;
        self.link.end()?;
        Ok(Execution { outputs, parameters, input, infer, output })
    }
}
