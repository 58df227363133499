use std::collections::BTreeMap;
use std::ptr;

use adulis_backend::{BackendError, EngineOptions, ExecutionProvider};

use crate::api::{OrtError, api, call};
use crate::environment::c_text;
use crate::session::TextPairs;
use crate::session_options::SessionOptions;

/// How a provider is added to a session's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Always there, last; it takes no options.
    Cpu,
    Cuda,
    TensorRt,
    Rocm,
    Cann,
    Dnnl,
    OpenVino,
    VitisAi,
    /// Through the one function for all others.
    Named,
}

/// Name in configurations, name in the engine, way in. Aliases come after the name that messages list.
const PROVIDERS: [(&str, &str, Entry); 20] = [
    ("cpu", "CPUExecutionProvider", Entry::Cpu),
    ("cuda", "CUDAExecutionProvider", Entry::Cuda),
    ("tensorrt", "TensorrtExecutionProvider", Entry::TensorRt),
    ("openvino", "OpenVINOExecutionProvider", Entry::OpenVino),
    ("rocm", "ROCMExecutionProvider", Entry::Rocm),
    ("migraphx", "MIGraphXExecutionProvider", Entry::Named),
    ("dnnl", "DnnlExecutionProvider", Entry::Dnnl),
    ("cann", "CANNExecutionProvider", Entry::Cann),
    ("vitisai", "VitisAIExecutionProvider", Entry::VitisAi),
    ("coreml", "CoreMLExecutionProvider", Entry::Named),
    ("xnnpack", "XnnpackExecutionProvider", Entry::Named),
    ("qnn", "QNNExecutionProvider", Entry::Named),
    ("webgpu", "WebGpuExecutionProvider", Entry::Named),
    ("directml", "DmlExecutionProvider", Entry::Named),
    ("nvtensorrtrtx", "NvTensorRTRTXExecutionProvider", Entry::Named),
    ("nnapi", "NnapiExecutionProvider", Entry::Named),
    ("snpe", "SNPEExecutionProvider", Entry::Named),
    ("azure", "AzureExecutionProvider", Entry::Named),
    ("onednn", "DnnlExecutionProvider", Entry::Dnnl),
    ("dml", "DmlExecutionProvider", Entry::Named),
];

/// One execution provider that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Its name in the engine.
    pub(crate) canonical: &'static str,
    entry: Entry,
    options: Vec<(String, String)>,
}

/// Planning a convolution takes a quarter of the time that trying every algorithm does, and what is found is as fast; memory
/// grows by what is needed instead of doubling (docs/engines.md).
const CUDA_DEFAULTS: [(&str, &str); 2] = [
    ("cudnn_conv_algo_search", "HEURISTIC"),
    ("arena_extend_strategy", "kSameAsRequested"),
];

impl Provider {
    /// The providers of `options` other than the CPU, first choice first. The device and the memory limit are added to
    /// those that have such an option, unless it is given; CUDA is added behind TensorRT.
    ///
    /// # Errors
    /// [`BackendError::Option`] for a name that is not known, or options for the CPU, which has none.
    pub(crate) fn read(options: &EngineOptions) -> Result<Vec<Self>, BackendError> {
        let mut providers = Vec::new();
        for asked in &options.providers {
            let provider = Self::find(asked)?;
            if provider.entry == Entry::Cpu {
                if let Some((option, _)) = asked.options.first_key_value() {
                    return Err(refused(asked, format!("the CPU has no option {option:?}")));
                }
                // Whatever comes after the CPU would have nothing left to do.
                break;
            }
            providers.push(provider.with_defaults(options));
        }
        let tensorrt = providers.iter().position(|provider| provider.entry == Entry::TensorRt);
        if let Some(place) =
            tensorrt.filter(|_| providers.iter().all(|provider| provider.entry != Entry::Cuda))
        {
            // What TensorRT does not take stays on the GPU.
            let cuda = ExecutionProvider { name: "cuda".to_owned(), options: BTreeMap::new() };
            providers.insert(place + 1, Self::find(&cuda)?.with_defaults(options));
        }
        Ok(providers)
    }

    fn find(asked: &ExecutionProvider) -> Result<Self, BackendError> {
        let wanted = asked.name.to_ascii_lowercase();
        let known = PROVIDERS
            .iter()
            .find(|(name, canonical, _)| wanted == *name || canonical.eq_ignore_ascii_case(&wanted));
        let Some(&(_, canonical, entry)) = known else {
            let names: Vec<_> = PROVIDERS.iter().map(|(name, ..)| *name).collect();
            return Err(refused(asked, format!("not known; known are {}", names.join(", "))));
        };
        Ok(Self {
            name: asked.name.clone(),
            canonical,
            entry,
            options: asked.options.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        })
    }

    fn with_defaults(mut self, options: &EngineOptions) -> Self {
        let has_device = matches!(self.entry, Entry::Cuda | Entry::TensorRt | Entry::Rocm | Entry::Cann);
        if let Some(device) = options.device_id.filter(|_| has_device) {
            self.default("device_id", &device.to_string());
        }
        let limit_key = match self.entry {
            Entry::Cuda | Entry::Rocm => Some("gpu_mem_limit"),
            Entry::Cann => Some("npu_mem_limit"),
            _ => None,
        };
        if let Some((key, limit)) = limit_key.zip(options.arena_limit_bytes) {
            self.default(key, &limit.to_string());
        }
        if matches!(self.entry, Entry::Cuda) {
            for (key, value) in CUDA_DEFAULTS {
                self.default(key, value);
            }
        }
        self
    }

    fn default(&mut self, key: &str, value: &str) {
        if self.options.iter().all(|(given, _)| given != key) {
            self.options.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Adds the provider to `session`. The plain C functions say so when it cannot be had; nothing falls back silently.
    pub(crate) fn append(&self, session: &SessionOptions) -> Result<(), OrtError> {
        let pairs = TextPairs::new(self.options.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        match self.entry {
            Entry::Cpu => Ok(()),
            Entry::Cuda => append_cuda(session, &pairs),
            Entry::TensorRt => append_tensorrt(session, &pairs),
            Entry::Rocm => append_rocm(session, &pairs),
            Entry::Cann => append_cann(session, &pairs),
            Entry::Dnnl => append_dnnl(session, &pairs),
            Entry::OpenVino => append_openvino(session, &pairs),
            Entry::VitisAi => append_vitisai(session, &pairs),
            Entry::Named => append_named(session, self.canonical, &pairs),
        }
    }
}

/// The error for a provider that was asked for.
pub(crate) fn refused(asked: &ExecutionProvider, reason: String) -> BackendError {
    BackendError::Option { option: format!("execution provider {:?}", asked.name), reason }
}

/// Defines how a provider with an options object is added: made, filled from the pairs, handed over, released.
macro_rules! append_with_object {
    ($name:ident, $create:ident, $update:ident, $append:ident, $release:ident) => {
        fn $name(session: &SessionOptions, pairs: &TextPairs) -> Result<(), OrtError> {
            let mut object = ptr::null_mut();
            // SAFETY: the place is written on success.
            unsafe { call!($create(&raw mut object)) }?;
            // SAFETY: object and session options are live, the pairs are parallel arrays of their length; the object is
            // copied by the second call and released once.
            unsafe {
                let filled = call!($update(object, pairs.keys(), pairs.values(), pairs.len()));
                let appended = filled.and_then(|()| call!($append(session.as_ptr(), object)));
                (api().$release)(object);
                appended
            }
        }
    };
}

append_with_object!(
    append_cuda,
    CreateCUDAProviderOptions,
    UpdateCUDAProviderOptions,
    SessionOptionsAppendExecutionProvider_CUDA_V2,
    ReleaseCUDAProviderOptions
);
append_with_object!(
    append_tensorrt,
    CreateTensorRTProviderOptions,
    UpdateTensorRTProviderOptions,
    SessionOptionsAppendExecutionProvider_TensorRT_V2,
    ReleaseTensorRTProviderOptions
);
append_with_object!(
    append_rocm,
    CreateROCMProviderOptions,
    UpdateROCMProviderOptions,
    SessionOptionsAppendExecutionProvider_ROCM,
    ReleaseROCMProviderOptions
);
append_with_object!(
    append_cann,
    CreateCANNProviderOptions,
    UpdateCANNProviderOptions,
    SessionOptionsAppendExecutionProvider_CANN,
    ReleaseCANNProviderOptions
);
append_with_object!(
    append_dnnl,
    CreateDnnlProviderOptions,
    UpdateDnnlProviderOptions,
    SessionOptionsAppendExecutionProvider_Dnnl,
    ReleaseDnnlProviderOptions
);

fn append_openvino(session: &SessionOptions, pairs: &TextPairs) -> Result<(), OrtError> {
    // SAFETY: session options are live, the pairs are parallel arrays of their length.
    unsafe {
        call!(SessionOptionsAppendExecutionProvider_OpenVINO_V2(
            session.as_ptr(),
            pairs.keys(),
            pairs.values(),
            pairs.len()
        ))
    }
}

fn append_vitisai(session: &SessionOptions, pairs: &TextPairs) -> Result<(), OrtError> {
    // SAFETY: session options are live, the pairs are parallel arrays of their length.
    unsafe {
        call!(SessionOptionsAppendExecutionProvider_VitisAI(
            session.as_ptr(),
            pairs.keys(),
            pairs.values(),
            pairs.len()
        ))
    }
}

fn append_named(session: &SessionOptions, canonical: &str, pairs: &TextPairs) -> Result<(), OrtError> {
    let name = c_text(canonical)?;
    // SAFETY: session options are live, the name is a C string, the pairs are parallel arrays of their length.
    unsafe {
        call!(SessionOptionsAppendExecutionProvider(
            session.as_ptr(),
            name.as_ptr(),
            pairs.keys(),
            pairs.values(),
            pairs.len()
        ))
    }
}

/// The providers that the loaded library was built with. Being in the list does not mean that one can run here.
pub(crate) fn built_in() -> Result<Vec<String>, OrtError> {
    let (mut list, mut length) = (ptr::null_mut(), 0);
    // SAFETY: the list is an array of `length` C strings, copied and then given back once.
    unsafe {
        call!(GetAvailableProviders(&raw mut list, &raw mut length))?;
        let count = usize::try_from(length).unwrap_or(0);
        let names = (0..count).map(|index| crate::api::owned_text(*list.add(index))).collect();
        call!(ReleaseAvailableProviders(list, length))?;
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
