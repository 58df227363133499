use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adulis_backend::{BackendError, BatchInput, Execution, Model, ModelInstance, ModelSignature};
use adulis_telemetry::panic_message;

use super::Host;
use super::runs::CurrentRun;
use crate::fault::Fault;
use crate::frame::Kind;
use crate::link::{Link, Received, invalid, is_too_large};
use crate::open::{Open, Opened, WireRequest};
use crate::run::{Announced, RanHead, RunHead, read_run, write_ran};

/// Serves one connection to its end.
pub(super) fn serve(host: &Arc<Host>, id: u64, mut link: Link) {
    let span = tracing::info_span!("worker", pid = std::process::id());
    let _within = span.enter();
    if let Err(error) = open_and_run(host, id, &mut link) {
        tracing::warn!(connection = id, %error, "a connection of the server's broke");
    }
    host.runs.remove(id);
}

fn open_and_run(host: &Host, id: u64, link: &mut Link) -> io::Result<()> {
    let Some(Received { kind: Kind::Open, .. }) = link.receive()? else {
        return Err(invalid("its first frame does not say what it is for"));
    };
    link.end()?;
    let open: Open = serde_json::from_slice(link.head()).map_err(io::Error::from)?;
    link.limit(open.max_body_bytes);
    let (model, instance) = match guarded(|| host.open(open)) {
        Ok(Some(made)) => made,
        Ok(None) => return opened(link, b"null"),
        Err(fault) => return fail(link, 0, &fault),
    };
    // Before it can be asked anything.
    let current = host.runs.add(id, instance.interrupt());
    opened(link, &serde_json::to_vec(&Opened::of(&*model))?)?;
    Served { signature: model.signature(), instance, current: &current }.run(link)
}

/// A model and an instance of it.
type Made = (Arc<dyn Model>, Box<dyn ModelInstance>);

impl Host {
    /// The model and an instance of it; nothing where only the backend was asked for.
    fn open(&self, open: Open) -> Result<Option<Made>, BackendError> {
        let backend = self.backends.iter().find(|backend| backend.name() == open.backend);
        let unknown =
            || BackendError::Unsupported { what: format!("backend '{}' in a worker", open.backend) };
        let backend = backend.ok_or_else(unknown)?;
        let Some(request) = open.model else {
            return backend.available().map(|()| None);
        };
        let model = self.model(&**backend, request)?;
        let instance = if model.is_decoupled() { None } else { Some(model.instance()?) };
        // What answers any number of times is not run here: that it does is all that the server wants to know.
        Ok(Some((model, instance.unwrap_or_else(|| Box::new(Nothing)))))
    }

    /// The worker's model, loaded where this is the first to ask for it.
    fn model(
        &self,
        backend: &dyn adulis_backend::Backend,
        request: WireRequest,
    ) -> Result<Arc<dyn Model>, BackendError> {
        // Held while it is loaded: nobody can do anything before.
        let mut model = self.model.lock();
        if let Some((known, model)) = &*model {
            let other = || BackendError::Unsupported { what: "a second model in one worker".to_owned() };
            return if *known == request { Ok(Arc::clone(model)) } else { Err(other()) };
        }
        let odd = || BackendError::Unsupported { what: "what the server says of the model".to_owned() };
        let loaded = backend.load(&request.clone().read().ok_or_else(odd)?)?;
        *model = Some((request, Arc::clone(&loaded)));
        Ok(loaded)
    }
}

/// Stands for an instance that is never run.
struct Nothing;

impl ModelInstance for Nothing {
    fn execute(&mut self, _: &[BatchInput]) -> Result<Execution, BackendError> {
        Err(BackendError::Unsupported { what: "a decoupled model in a worker".to_owned() })
    }
}

/// An instance and what is to be known of its model.
struct Served<'a> {
    signature: &'a ModelSignature,
    instance: Box<dyn ModelInstance>,
    current: &'a CurrentRun,
}

impl Served<'_> {
    /// Runs batches until the server closes. After a panic or a fault nothing is known of the instance, and it goes.
    fn run(mut self, link: &mut Link) -> io::Result<()> {
        while let Some(Received { kind, run }) = link.receive()? {
            if kind != Kind::Run {
                return Err(invalid("it asks for what is no run"));
            }
            self.current.begin(run);
            let ran = self.run_once(link)?;
            self.current.end();
            match ran {
                Ok(execution) => answer(link, run, execution)?,
                Err(fault) => {
                    fail(link, run, &fault)?;
                    if matches!(fault, Fault::Broken { .. } | Fault::Panicked { .. }) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn run_once(&mut self, link: &mut Link) -> io::Result<Result<Execution, Fault>> {
        let failed = |reason: &str| Ok(Err(Fault::Execution { reason: reason.to_owned() }));
        let Some(RunHead { inputs, requests }) = read_run(link.head()) else {
            link.skip()?;
            return failed("the batch cannot be read by its worker");
        };
        let mut batch = Vec::with_capacity(inputs.len());
        for (index, announced) in inputs {
            let spec =
                self.signature.inputs.get(index).ok_or_else(|| invalid("an input that the model lacks"))?;
            let tensor = announced.receive(link)?;
            let (datatype, shape) = (tensor.datatype(), tensor.shape().clone());
            batch.push(BatchInput { index, name: spec.name.clone(), datatype, shape, parts: vec![tensor] });
        }
        link.end()?;
        if self.current.is_asked() {
            return Ok(Err(Fault::Interrupted));
        }
        let instance = &mut self.instance;
        let ran = guarded(|| match requests.as_slice() {
            [] => instance.execute(&batch),
            requests => instance.execute_requests(&batch, requests),
        });
        let execution = match ran {
            Ok(execution) => execution,
            Err(fault) => return Ok(Err(fault)),
        };
        let outputs = &self.signature.outputs;
        let fits = execution.outputs.len() == outputs.len()
            && execution
                .outputs
                .iter()
                .zip(outputs)
                .all(|(output, spec)| output.datatype() == spec.datatype);
        if !fits {
            return failed("the run gave outputs that are not those of the model's signature");
        }
        Ok(Ok(execution))
    }
}

fn answer(link: &mut Link, run: u64, execution: Execution) -> io::Result<()> {
    let Execution { outputs, parameters, input, infer, output } = execution;
    let announced = outputs.iter().map(Announced::of).collect();
    let ran = RanHead { outputs: announced, parameters, times: [input, infer, output] };
    let parts = outputs.iter().map(|output| &output.data()[..]);
    match link.send((Kind::Ran, run), |head| write_ran(head, &ran), parts) {
        Err(error) if is_too_large(&error) => {
            fail(link, run, &Fault::Execution { reason: format!("its outputs: {error}") })
        }
        sent => sent,
    }
}

fn opened(link: &mut Link, told: &[u8]) -> io::Result<()> {
    link.send((Kind::Opened, 0), |head| head.extend_from_slice(told), std::iter::empty())
}

fn fail(link: &mut Link, run: u64, fault: &Fault) -> io::Result<()> {
    let json = fault.to_json();
    link.send((Kind::Failed, run), |head| head.extend_from_slice(&json), std::iter::empty())
}

/// Calls into a backend.
fn guarded<T>(call: impl FnOnce() -> Result<T, BackendError>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::from(error)),
        Err(panic) => Err(Fault::Panicked { reason: panic_message(&*panic) }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use adulis_backend::Batching;

    use super::super::runs::Runs;
    use super::*;
    use crate::run::write_run;
    use crate::sheet::Sheet;

    /// Counts its runs.
    struct Counting(Arc<AtomicUsize>);

    impl ModelInstance for Counting {
        fn execute(&mut self, _: &[BatchInput]) -> Result<Execution, BackendError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Execution::default())
        }
    }

    #[test]
    fn a_run_that_was_asked_to_end_before_it_came_is_not_begun() {
        let (near, far) = UnixStream::pair().unwrap();
        // Nothing here is so large that it goes through them.
        let link = |stream| Link::new(stream, (Sheet::new().unwrap(), Sheet::new().unwrap()), 0);
        let (mut near, mut far) = (link(near), link(far));
        let (runs, count) = (Runs::default(), Arc::new(AtomicUsize::new(0)));
        let (current, instance) = (runs.add(9, None), Counting(Arc::clone(&count)));
        let signature = ModelSignature { inputs: vec![], outputs: vec![], batching: Batching::No };
        runs.interrupt(9, 1);
        thread::scope(|scope| {
            let served = Served { signature: &signature, instance: Box::new(instance), current: &current };
            let serving = scope.spawn(|| served.run(&mut far));
            for (run, answer, expected) in [(1, Kind::Failed, 0), (2, Kind::Ran, 1)] {
                let write = |head: &mut Vec<u8>| write_run(head, std::iter::empty(), &[]);
                near.send((Kind::Run, run), write, std::iter::empty()).unwrap();
                assert_eq!(near.receive().unwrap().map(|received| received.kind), Some(answer));
                assert_eq!(count.load(Ordering::SeqCst), expected, "{run}");
            }
            drop(near);
            serving.join().unwrap().unwrap();
        });
    }
}
