use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{BatchInput, BatchRequest, Execution, ModelSignature};

use crate::exchange::{Exchange, Failure};
use crate::fault::Fault;
use crate::frame::Kind;
use crate::open::{Open, Opened};
use crate::process::Process;
use crate::run::{Announced, write_run};

/// An instance in a worker, from the server's side.
#[derive(Debug)]
pub(crate) struct Connection {
    exchange: Exchange,
    pub(crate) process: Arc<Process>,
    pub(crate) id: u64,
}

/// Until when an answer is waited for, and who says from time to time whether it still is.
pub(crate) type Patience<'a> = (Instant, &'a dyn Fn() -> bool);

impl Connection {
    /// Connects and has the worker make an instance, which loads the model where it is the first. Waits for it as `patience`
    /// says.
    pub(crate) fn open(
        process: &Arc<Process>,
        open: &Open,
        patience: Patience<'_>,
    ) -> Result<(Self, Opened), Failure> {
        let mut connection = Self::new(process, open.max_body_bytes)?;
        let head = connection.ask(open, patience)?;
        let opened = serde_json::from_slice(&head).map_err(|error| Failure::Violation(error.into()))?;
        Ok((connection, opened))
    }

    /// Asks a worker whether a backend can run in it.
    pub(crate) fn probe(process: &Arc<Process>, open: &Open, deadline: Instant) -> Result<(), Failure> {
        Self::new(process, open.max_body_bytes)?.ask(open, (deadline, &|| true)).map(drop)
    }

    /// A connection for nothing in particular.
    fn new(process: &Arc<Process>, max_body_bytes: usize) -> Result<Self, Failure> {
        let (id, link) = process.connect(max_body_bytes).map_err(unopened)?;
        Ok(Self { exchange: Exchange::new(link), process: Arc::clone(process), id })
    }

    /// Says what the connection is for. Gives the head of the answer.
    fn ask(&mut self, open: &Open, (deadline, goes_on): Patience<'_>) -> Result<Vec<u8>, Failure> {
        let json = serde_json::to_vec(open).map_err(|error| {
            let reason = format!("it cannot be told to a worker: {error}");
            Failure::Said(Fault::Unsupported { what: reason })
        })?;
        let write = |head: &mut Vec<u8>| head.extend_from_slice(&json);
        self.within(deadline)?;
        let link = &mut self.exchange.link;
        link.send((Kind::Open, 0), write, std::iter::empty()).map_err(Failure::of)?;
        link.wait(deadline, goes_on).map_err(Failure::of)?;
        self.within(deadline)?;
        let head = self.exchange.opened()?;
        self.exchange.link.set_timeout(None).map_err(Failure::of)?;
        Ok(head)
    }

    fn within(&self, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.exchange
            .link
            .set_timeout(Some(left.max(Duration::from_millis(1))))
            .map_err(Failure::of)
    }

    /// The number that the next run will have.
    pub(crate) fn next_run(&self) -> u64 {
        self.exchange.run + 1
    }

    /// Runs a batch. Gives what the worker says of its times as they are, and beside them how long handing over and back took.
    pub(crate) fn run(
        &mut self,
        signature: &ModelSignature,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<(Execution, Duration), Failure> {
        let begun = Instant::now();
        self.exchange.run += 1;
        let parts = inputs.iter().flat_map(|input| &input.parts).map(|part| &part.data()[..]);
        let announced = inputs.iter().map(|input| (input.index, Announced::of_input(input)));
        let write = |head: &mut Vec<u8>| write_run(head, announced, requests);
        let Exchange { link, run } = &mut self.exchange;
        link.send((Kind::Run, *run), write, parts).map_err(Failure::of)?;
        let mut execution = self.exchange.ran(signature, requests.len())?;
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
        self.exchange.link.set_timeout(None).map_err(Failure::of)
    }
}

/// Why there is no connection.
fn unopened(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::WouldBlock => {
            Failure::Died(error)
        }
        // Files or memory that this process lacks are no fault of the worker's.
        _ => {
            let reason = format!("no connection to a worker process can be opened: {error}");
            Failure::Said(Fault::Broken { reason })
        }
    }
}
