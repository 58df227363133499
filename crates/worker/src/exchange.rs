use std::io;

use adulis_backend::{Execution, ModelSignature};

use crate::fault::Fault;
use crate::frame::Kind;
use crate::link::{Link, invalid, is_too_large};
use crate::run::{RanHead, read_ran};

/// What is asked of an instance and what it answers, from the server's side: nothing that comes is believed.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) link: Link,
    /// The number of the last run.
    pub(crate) run: u64,
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
    pub(crate) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Violation(error),
            _ if is_too_large(&error) => Self::TooLarge(error),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Died(error),
        }
    }
}

impl Exchange {
    /// Before the first run.
    pub(crate) fn new(link: Link) -> Self {
        Self { link, run: 0 }
    }

    /// Waits until the instance is open. Gives the head of the answer.
    pub(crate) fn opened(&mut self) -> Result<Vec<u8>, Failure> {
        self.receive(Kind::Opened)?;
        self.link.end().map_err(Failure::of)?;
        Ok(self.link.head().to_vec())
    }

    /// Waits for what a run of so many requests gave.
    pub(crate) fn ran(&mut self, signature: &ModelSignature, requests: usize) -> Result<Execution, Failure> {
        self.receive(Kind::Ran)?;
        let ran = read_ran(self.link.head());
        let ran = ran.ok_or_else(|| Failure::Violation(invalid("its answer cannot be read")))?;
        self.outputs(ran, signature, requests).map_err(Failure::of)
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

    fn outputs(
        &mut self,
        ran: RanHead,
        signature: &ModelSignature,
        requests: usize,
    ) -> io::Result<Execution> {
        let RanHead { outputs, parameters, times: [input, infer, output] } = ran;
        let as_declared = outputs.len() == signature.outputs.len()
            && outputs
                .iter()
                .zip(&signature.outputs)
                .all(|(output, spec)| output.datatype == spec.datatype)
            && parameters.len() <= requests;
        if !as_declared {
            return Err(invalid("its outputs are not those of the model's signature"));
        }
        let outputs = outputs.into_iter().map(|output| output.receive(&mut self.link));
        let outputs = outputs.collect::<io::Result<Vec<_>>>()?;
        self.link.end()?;
        Ok(Execution { outputs, parameters, input, infer, output })
    }
}
