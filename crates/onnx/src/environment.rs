use std::any::Any;
use std::ffi::{CString, c_int};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::thread;

use adulis_backend::BackendError;
use ort::sys;
use parking_lot::Mutex;

use crate::api::{OrtError, api, call, filled, owned_text};
use crate::locate::{Place, Surroundings, not_found};
use crate::logs;
use crate::runtime::{NAME, OnnxRuntimeOptions};

/// The engine's environment: its loggers, its thread pool, its memory arena. One per process, never released, because
/// values that clients' responses hold refer to its memory.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) env: NonNull<sys::OrtEnv>,
    /// Describes plain CPU memory, for input values over foreign bytes.
    pub(crate) cpu_memory: NonNull<sys::OrtMemoryInfo>,
    /// Threads of the shared pool, the calling thread among them.
    pub(crate) pool_threads: usize,
    /// The library's own version, such as `1.28.0`.
    pub(crate) version: String,
    /// The library file.
    pub(crate) library: PathBuf,
    /// Whether a shared memory arena was registered.
    pub(crate) shared_arena: bool,
}

// SAFETY: the C interface allows use of an environment and of a memory description from any thread; both are only read.
unsafe impl Send for Environment {}
// SAFETY: as above.
unsafe impl Sync for Environment {}

static CURRENT: Mutex<Option<&'static Environment>> = Mutex::new(None);

/// The process's environment, made on the first call.
///
/// Later calls get the same one whatever their options say: there can only be one, and its pool is sized already.
///
/// # Errors
/// [`BackendError::Unavailable`] if no library can be loaded. A failure is not remembered: a library that is put in
/// place later is found.
pub(crate) fn environment(options: &OnnxRuntimeOptions) -> Result<&'static Environment, BackendError> {
    let mut current = CURRENT.lock();
    if let Some(environment) = *current {
        return Ok(environment);
    }
    let library = load_library(options)?;
    let environment = Environment::new(library, options).map_err(|error| BackendError::Unavailable {
        backend: NAME,
        reason: format!("its environment could not be made: {error}"),
    })?;
    tracing::info!(
        version = environment.version,
        library = %environment.library.display(),
        pool_threads = environment.pool_threads,
        "ONNX Runtime loaded"
    );
    Ok(current.insert(Box::leak(Box::new(environment))))
}

fn load_library(options: &OnnxRuntimeOptions) -> Result<PathBuf, BackendError> {
    let mut tried = Vec::new();
    for Place { path, named } in Surroundings::of_process().places(options.library.as_deref()) {
        let shown = path.display();
        let bare_name = path.parent().is_none_or(|folder| folder.as_os_str().is_empty());
        if !bare_name && !path.is_file() {
            tried.push(format!("{shown} (no such file)"));
            continue;
        }
        // `ort` asserts on libraries that are not what they say; a wrong file must not bring the process down.
        match catch_unwind(|| ort::init_from(&path).map(|_| ())) {
            Ok(Ok(())) => return Ok(path),
            Ok(Err(error)) => tried.push(format!("{shown} ({})", one_line(&error.to_string()))),
            Err(panic) => tried.push(format!("{shown} ({})", panic_text(&*panic))),
        }
        if named {
            break;
        }
    }
    Err(not_found(&tried))
}

fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not an ONNX Runtime library")
}

impl Environment {
    fn new(library: PathBuf, options: &OnnxRuntimeOptions) -> Result<Self, OrtError> {
        let pool_threads = match options.intra_op_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = ThreadingOptions::new(pool_threads, options)?;
        let mut env = ptr::null_mut();
        let mut cpu_memory = ptr::null_mut();
        // SAFETY: the name is a C string, the options live over the call, both places are written on success, and the
        // logger takes no parameter.
        unsafe {
            call!(CreateEnvWithCustomLoggerAndGlobalThreadPools(
                logs::write,
                ptr::null_mut(),
                logs::level(),
                c"adulis".as_ptr(),
                pool.0.as_ptr(),
                &raw mut env
            ))?;
            call!(CreateCpuMemoryInfo(
                sys::OrtAllocatorType::OrtDeviceAllocator,
                sys::OrtMemType::OrtMemTypeDefault,
                &raw mut cpu_memory
            ))?;
        }
        let env = filled(env, "environment")?;
        // SAFETY: `env` was made above and lives as long as the process. Without it the built-in telemetry of some
        // builds would send; a build without telemetry accepts the call.
        unsafe { call!(DisableTelemetryEvents(env.as_ptr())) }?;
        Ok(Self {
            env,
            cpu_memory: filled(cpu_memory, "memory description")?,
            pool_threads,
            version: version_of(&library),
            library,
            shared_arena: register_arena(env).is_ok(),
        })
    }
}

/// Registers one CPU memory arena that every session shares: a thousand sessions with an arena each would each hold on
/// to the most that they ever needed.
fn register_arena(env: NonNull<sys::OrtEnv>) -> Result<(), OrtError> {
    let (mut arena, mut memory) = (ptr::null_mut(), ptr::null_mut());
    // Grow by what is asked for rather than by doubling, and start small.
    let keys = [
        c"arena_extend_strategy".as_ptr(),
        c"initial_chunk_size_bytes".as_ptr(),
    ];
    let values = [1_usize, 64 * 1024];
    // SAFETY: keys and values have the same length and live over the calls; what the first two calls make is given to
    // the third, which copies it, and is then released once.
    unsafe {
        call!(CreateArenaCfgV2(keys.as_ptr(), values.as_ptr(), keys.len(), &raw mut arena))?;
        let made = call!(CreateCpuMemoryInfo(
            sys::OrtAllocatorType::OrtArenaAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &raw mut memory
        ));
        let registered = made.and_then(|()| call!(CreateAndRegisterAllocator(env.as_ptr(), memory, arena)));
        (api().ReleaseArenaCfg)(arena);
        if !memory.is_null() {
            (api().ReleaseMemoryInfo)(memory);
        }
        registered
    }
}

struct ThreadingOptions(NonNull<sys::OrtThreadingOptions>);

impl ThreadingOptions {
    fn new(pool_threads: usize, options: &OnnxRuntimeOptions) -> Result<Self, OrtError> {
        let mut threading = ptr::null_mut();
        // SAFETY: the place is written on success.
        unsafe { call!(CreateThreadingOptions(&raw mut threading)) }?;
        let threading = Self(filled(threading, "threading options")?);
        let inter_op = options.inter_op_threads.max(1);
        // SAFETY: the options are valid until dropped.
        unsafe {
            call!(SetGlobalIntraOpNumThreads(threading.0.as_ptr(), count(pool_threads)))?;
            call!(SetGlobalInterOpNumThreads(threading.0.as_ptr(), count(inter_op)))?;
            call!(SetGlobalSpinControl(threading.0.as_ptr(), c_int::from(options.spinning)))?;
        }
        Ok(threading)
    }
}

impl Drop for ThreadingOptions {
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once.
        unsafe { (api().ReleaseThreadingOptions)(self.0.as_ptr()) }
    }
}

/// A count as C takes it.
pub(crate) fn count(value: usize) -> c_int {
    c_int::try_from(value).unwrap_or(c_int::MAX)
}

/// The version that the library says it is, such as `1.28.0`; its build information where it does not say.
fn version_of(library: &Path) -> String {
    // SAFETY: the file is a library that is loaded already, so that opening it again runs no initialiser; the function's
    // type is the one that the engine's interface fixes, and the table and the text it leads to are static.
    let version = unsafe {
        libloading::Library::new(library).ok().and_then(|library| {
            let base =
                library.get::<unsafe extern "C" fn() -> *const sys::OrtApiBase>(b"OrtGetApiBase\0").ok()?();
            let base = base.as_ref()?;
            Some(owned_text((base.GetVersionString)()))
        })
    };
    version.unwrap_or_else(|| ort::info().to_owned())
}

/// Text as C takes it.
///
/// # Errors
/// If it holds NUL.
pub(crate) fn c_text(text: &str) -> Result<CString, OrtError> {
    CString::new(text).map_err(|_| OrtError(format!("{text:?} holds a NUL character")))
}
