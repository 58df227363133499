use std::path::PathBuf;
use std::sync::Arc;

use crate::{BackendError, BatchInput, BatchRequest, EngineOptions, Execution, ModelSignature, Responder};

/// Loads models of one kind of engine.
pub trait Backend: Send + Sync + 'static {
    /// The name that configurations use: `onnxruntime`, `tract`, `identity` …
    fn name(&self) -> &'static str;

    /// The platform that model metadata tells, such as `onnxruntime_onnx`; the name, where there is no other.
    fn platform(&self) -> &'static str {
        self.name()
    }

    /// Whether it can run here, and if not why not (a missing library, say). Asked once per load. It can, unless it says
    /// otherwise.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] with the reason and the remedy.
    fn available(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Loads a model. Blocking: called on a loader thread, several loads at a time.
    ///
    /// # Errors
    /// [`BackendError`] naming what is wrong with the file or the options. A panic is caught and becomes a load error.
    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError>;
}

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The model's name, for messages.
    pub name: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The model file or folder. Built-in models have a path too, which need not exist.
    pub path: PathBuf,
    /// A signature from the model's configuration, for backends whose models do not carry one.
    pub declared: Option<ModelSignature>,
    /// Engine options.
    pub options: EngineOptions,
}

/// A loaded model, shared by its instances.
pub trait Model: Send + Sync + 'static {
    /// Inputs and outputs as the model itself declares them, leading batch dimension included.
    fn signature(&self) -> &ModelSignature;

    /// Where it really runs, for people: `CPUExecutionProvider (1 thread)`.
    fn placement(&self) -> String;

    /// Whether an instance keeps something of one run for the next that neither inputs nor outputs tell, as a model of sequences
    /// may. Then nobody but the instance knows how far a sequence has come: a batch that failed is not run again in parts, and
    /// when an instance is rebuilt, its sequences are given up.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Whether its instances want to know which requests a batch is of: then [`ModelInstance::execute_requests`] is called.
    fn reads_requests(&self) -> bool {
        false
    }

    /// Whether its instances answer requests any number of times: then [`ModelInstance::respond`] is called. Such a model is
    /// served only where its configuration says so (`model_transaction_policy.decoupled`).
    fn is_decoupled(&self) -> bool {
        false
    }

    /// Whether a run is much faster where the batch has as many rows as in the run before, as where the engine plans its
    /// kernels anew for each shape. The server may then make an instance for each of a few sizes, and pad batches to them.
    fn prefers_fixed_batches(&self) -> bool {
        false
    }

    /// Whether its runs wait for something other than this process's cores, such as another process. Then they are never done on
    /// an I/O thread, however short.
    fn runs_elsewhere(&self) -> bool {
        false
    }

    /// Why it cannot answer at present, if it cannot. Asked for each request and by whoever asks for readiness: it is to cost no
    /// more than a look.
    fn unready(&self) -> Option<Arc<str>> {
        None
    }

    /// Makes an instance. The first may take over what loading made.
    ///
    /// # Errors
    /// [`BackendError`] if the engine refuses.
    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError>;
}

/// One executable copy of a model: a session and its buffers. One thread at a time holds it.
pub trait ModelInstance: Send + 'static {
    /// Runs the model once over a batch.
    ///
    /// `inputs` are in the signature's order, optional ones that nobody sent left out; the engine has checked them
    /// against the signature. The instance gathers each input's parts into its own aligned buffer (one copy, or none
    /// where there is a single part that is aligned already) and returns the outputs in the signature's order, as shared
    /// allocations that outlive the instance's next run.
    ///
    /// # Errors
    /// [`BackendError::Execution`] fails this batch only, and so does [`BackendError::Input`], for which the request is to blame;
    /// [`BackendError::Broken`] has the engine rebuild the instance,
    /// as a panic does.
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError>;

    /// As [`ModelInstance::execute`], told of the batch's requests in their order: each has as many rows as it says. For a model
    /// that [reads requests](Model::reads_requests).
    ///
    /// # Errors
    /// As [`ModelInstance::execute`].
    fn execute_requests(
        &mut self,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, BackendError> {
        let _ = requests;
        self.execute(inputs)
    }

    /// Answers the requests of a batch, each by its own responder and any number of times, also after this returns: then the
    /// instance is free for its next batch. For a [decoupled](Model::is_decoupled) model.
    ///
    /// Called on a thread that may be blocked: sending an answer waits for a client that is slow to take it, and holds up no
    /// other model. A run that takes long asks its responders from time to time whether their clients are still there.
    ///
    /// # Errors
    /// As [`ModelInstance::execute`]; ends the requests whose responders were dropped before their end.
    fn respond(&mut self, inputs: &[BatchInput], responders: Vec<Responder>) -> Result<(), BackendError> {
        let _ = (inputs, responders);
        Err(BackendError::Unsupported { what: "a decoupled transaction policy".to_owned() })
    }

    /// A handle with which another thread can ask a run to stop early.
    fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        None
    }
}

/// Stops a run of one instance from another thread. Takes effect on the run in progress, if any.
pub trait Interrupt: Send + Sync + 'static {
    /// Asks the run in progress to end soon with [`BackendError::Interrupted`].
    fn interrupt(&self);

    /// Ends the run in progress by force, where that harms nobody else: a worker process is killed. `false` where it cannot be.
    fn force(&self) -> bool {
        false
    }
}
