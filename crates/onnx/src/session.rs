use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::{self, NonNull};

use ort::sys;

use crate::api::{OrtError, api, call, filled, owned_text};
use crate::environment::{Environment, c_text};
use crate::session_options::SessionOptions;

/// A loaded graph, ready to run. One instance holds it, one thread at a time drives it.
#[derive(Debug)]
pub(crate) struct Session(NonNull<sys::OrtSession>);

// SAFETY: a session is bound to no thread. It is not `Sync` here: one session per instance needs no promise from the
// execution providers about concurrent runs.
unsafe impl Send for Session {}

/// Which of a session's names and types is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Inputs that a run must have.
    Input,
    /// Inputs with an initialiser, which a run may have.
    Overridable,
    /// Outputs.
    Output,
}

impl Session {
    /// Loads the model file at `path`. Relative paths to external weights are relative to it.
    pub(crate) fn from_file(
        environment: &Environment,
        path: &Path,
        options: &SessionOptions,
    ) -> Result<Self, OrtError> {
        let path = os_path(path)?;
        let mut session = ptr::null_mut();
        // SAFETY: environment and options are live, the path is a C string that lives over the call.
        unsafe {
            call!(CreateSession(
                environment.env.as_ptr(),
                path.as_ptr(),
                options.as_ptr(),
                &raw mut session
            ))?;
        }
        filled(session, "session").map(Self)
    }

    /// Loads a model from memory, which may go afterwards.
    pub(crate) fn from_bytes(
        environment: &Environment,
        model: &[u8],
        options: &SessionOptions,
    ) -> Result<Self, OrtError> {
        let mut session = ptr::null_mut();
        // SAFETY: environment and options are live; the engine copies what it needs of the model's bytes, because the
        // options never ask it to use them in place.
        unsafe {
            call!(CreateSessionFromArray(
                environment.env.as_ptr(),
                model.as_ptr().cast(),
                model.len(),
                options.as_ptr(),
                &raw mut session
            ))?;
        }
        filled(session, "session").map(Self)
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::OrtSession {
        self.0.as_ptr()
    }

    /// How many inputs or outputs there are.
    pub(crate) fn count(&self, side: Side) -> Result<usize, OrtError> {
        let mut count = 0;
        // SAFETY: the session is live and the place is written on success.
        unsafe {
            match side {
                Side::Input => call!(SessionGetInputCount(self.as_ptr(), &raw mut count)),
                Side::Overridable => {
                    call!(SessionGetOverridableInitializerCount(self.as_ptr(), &raw mut count))
                }
                Side::Output => call!(SessionGetOutputCount(self.as_ptr(), &raw mut count)),
            }?;
        }
        Ok(count)
    }

    /// The name of one of them.
    pub(crate) fn name(&self, side: Side, index: usize) -> Result<String, OrtError> {
        let (mut allocator, mut name): (_, *mut c_char) = (ptr::null_mut(), ptr::null_mut());
        let session = self.as_ptr();
        // SAFETY: the session is live, the default allocator static; the name is a C string that this call owns and
        // gives back to the allocator it came from.
        unsafe {
            call!(GetAllocatorWithDefaultOptions(&raw mut allocator))?;
            match side {
                Side::Input => call!(SessionGetInputName(session, index, allocator, &raw mut name)),
                Side::Overridable => {
                    call!(SessionGetOverridableInitializerName(session, index, allocator, &raw mut name))
                }
                Side::Output => call!(SessionGetOutputName(session, index, allocator, &raw mut name)),
            }?;
            let text = owned_text(name);
            call!(AllocatorFree(allocator, name.cast()))?;
            Ok(text)
        }
    }

    /// The type of one of them.
    pub(crate) fn type_info(&self, side: Side, index: usize) -> Result<TypeInfo, OrtError> {
        let mut info = ptr::null_mut();
        let session = self.as_ptr();
        // SAFETY: the session is live and the place is written on success.
        unsafe {
            match side {
                Side::Input => call!(SessionGetInputTypeInfo(session, index, &raw mut info)),
                Side::Overridable => {
                    call!(SessionGetOverridableInitializerTypeInfo(session, index, &raw mut info))
                }
                Side::Output => call!(SessionGetOutputTypeInfo(session, index, &raw mut info)),
            }?;
        }
        filled(info, "type").map(TypeInfo)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: owned, so released once. Outputs of its runs hold their memory by themselves.
        unsafe { (api().ReleaseSession)(self.0.as_ptr()) }
    }
}

/// The declared type of an input or output.
#[derive(Debug)]
pub(crate) struct TypeInfo(NonNull<sys::OrtTypeInfo>);

/// A tensor type: the element's number, the dimensions (negative where open) and their names (empty where none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorType {
    pub(crate) element: i32,
    pub(crate) dimensions: Vec<i64>,
    pub(crate) names: Vec<String>,
}

impl TypeInfo {
    /// The tensor type, or what it is instead.
    pub(crate) fn tensor(&self) -> Result<Result<TensorType, &'static str>, OrtError> {
        let mut kind = 0_i32;
        // SAFETY: the info is live. The kind is written as a plain number, because a newer library may have kinds that
        // the declaration does not know.
        unsafe { call!(GetOnnxTypeFromTypeInfo(self.0.as_ptr(), (&raw mut kind).cast())) }?;
        match kind {
            1 => {}
            2 => return Ok(Err("a sequence")),
            3 => return Ok(Err("a map")),
            5 => return Ok(Err("a sparse tensor")),
            6 => return Ok(Err("an optional")),
            _ => return Ok(Err("of an opaque type")),
        }
        let mut tensor = ptr::null();
        let (mut element, mut rank) = (0_i32, 0);
        // SAFETY: `tensor` points into the info, which lives over the calls; places are written on success; the two
        // arrays have the length that is passed with them, and the names are C strings that live as long as the info.
        unsafe {
            call!(CastTypeInfoToTensorInfo(self.0.as_ptr(), &raw mut tensor))?;
            if tensor.is_null() {
                return Ok(Err("of an opaque type"));
            }
            call!(GetTensorElementType(tensor, (&raw mut element).cast()))?;
            call!(GetDimensionsCount(tensor, &raw mut rank))?;
            let mut dimensions = vec![0_i64; rank];
            call!(GetDimensions(tensor, dimensions.as_mut_ptr(), rank))?;
            let mut names = vec![ptr::null(); rank];
            call!(GetSymbolicDimensions(tensor, names.as_mut_ptr(), rank))?;
            let names = names.into_iter().map(|name| owned_text(name)).collect();
            Ok(Ok(TensorType { element, dimensions, names }))
        }
    }
}

impl Drop for TypeInfo {
    fn drop(&mut self) {
        // SAFETY: owned, so released once.
        unsafe { (api().ReleaseTypeInfo)(self.0.as_ptr()) }
    }
}

/// A path as the engine takes it.
#[cfg(unix)]
pub(crate) fn os_path(path: &Path) -> Result<CString, OrtError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| OrtError(format!("path {} holds a NUL character", path.display())))
}

/// A path as the engine takes it.
#[cfg(windows)]
pub(crate) fn os_path(path: &Path) -> Result<Vec<u16>, OrtError> {
    use std::os::windows::ffi::OsStrExt;
    Ok(path.as_os_str().encode_wide().chain([0]).collect())
}

/// Keys and values as parallel arrays of C strings.
#[derive(Debug, Default)]
pub(crate) struct TextPairs {
    texts: Vec<(CString, CString)>,
    keys: Vec<*const c_char>,
    values: Vec<*const c_char>,
}

impl TextPairs {
    pub(crate) fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, OrtError> {
        let texts: Vec<_> = pairs
            .map(|(key, value)| Ok((c_text(key)?, c_text(value)?)))
            .collect::<Result<_, OrtError>>()?;
        // Moving a `CString` does not move its text, so the pointers stay right.
        let keys = texts.iter().map(|(key, _)| key.as_ptr()).collect();
        let values = texts.iter().map(|(_, value)| value.as_ptr()).collect();
        Ok(Self { texts, keys, values })
    }

    pub(crate) fn keys(&self) -> *const *const c_char {
        self.keys.as_ptr()
    }

    pub(crate) fn values(&self) -> *const *const c_char {
        self.values.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}
