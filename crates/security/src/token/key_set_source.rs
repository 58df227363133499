use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adulis_retry::{BackoffOptions, BreakerOptions, CallError, Calls, Fault, Retries, RetryBudget};
use jsonwebtoken::Algorithm;
use parking_lot::RwLock;
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::KeySetPlace;
use super::key_set::{KeySet, MAX_KEY_SET_BYTES};

/// How long a fetch may take, attempts and pauses together.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long lies between two fetches that tokens with unknown keys ask for.
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// Attempts after the first of a fetch that failed for something that passes.
const MAX_RETRIES: u32 = 2;
/// Pauses before them.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(1) };
/// After a fetch that failed nobody waits for the issuer until this is over.
const OUTAGE_PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) };

/// The public keys of an issuer, fetched when they are needed and are too old, or not there.
pub(crate) struct KeySetSource {
    place: Place,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    outage: Duration,
    least_interval: Duration,
    known: RwLock<Option<Known>>,
    /// When they were last fetched, or a file was tried. Whoever has it does so.
    tried: Arc<Mutex<Option<Instant>>>,
}

enum Place {
    File(std::path::PathBuf),
    Url { client: Client, url: String, calls: Box<Calls> },
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    since: Instant,
}

/// What is known of the keys.
pub(crate) enum Keys {
    /// They are these.
    Fresh(Arc<KeySet>),
    /// They were these; whoever is told so has them fetched.
    Due(Arc<KeySet>),
    /// They must be fetched.
    Absent,
}

impl KeySetSource {
    /// A source of which a file is read at once.
    ///
    /// # Errors
    /// What is wrong with the file, or with certificates for the URL.
    pub(crate) fn new(
        place: &KeySetPlace,
        algorithms: Vec<Algorithm>,
        (refresh, outage): (Duration, Duration),
    ) -> Result<Self, String> {
        let (place, known) = match place {
            KeySetPlace::File(path) => {
                let keys = read(path, &algorithms)?;
                (Place::File(path.clone()), Some(Known { keys, since: Instant::now() }))
            }
            KeySetPlace::Url { url, ca_file } => {
                let client = client(ca_file.as_deref())?;
                (Place::Url { client, url: url.clone(), calls: Box::new(calls(OUTAGE_PAUSES)) }, None)
            }
        };
        let (known, tried) = (RwLock::new(known), Arc::new(Mutex::new(None)));
        Ok(Self { place, algorithms, refresh, outage, least_interval: LEAST_INTERVAL, known, tried })
    }

    /// How long lies between two fetches, and after one that failed, for tests that cannot wait.
    #[cfg(test)]
    pub(crate) fn set_least_interval(&mut self, interval: Duration) {
        self.least_interval = interval;
        if let Place::Url { calls: known, .. } = &mut self.place {
            **known = calls(BackoffOptions { min_delay: interval, max_delay: interval });
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        match &*self.known.read() {
            Some(known) if known.since.elapsed() < self.refresh => Keys::Fresh(Arc::clone(&known.keys)),
            Some(known) if known.since.elapsed() < self.refresh.saturating_add(self.outage) => {
                Keys::Due(Arc::clone(&known.keys))
            }
            _ => Keys::Absent,
        }
    }

    /// Fetches the keys, unless that was done a moment ago, or the issuer is known to be down. What is known stays where that
    /// fails.
    ///
    /// Dropping the future ends no fetch: clients that go away do not have the issuer asked once more for each of them.
    pub(crate) async fn fetch(self: &Arc<Self>) {
        let tried = Arc::clone(&self.tried).lock_owned().await;
        if let Some(fetching) = self.begin(tried) {
            // Its panic is in the log.
            let _ = fetching.await;
        }
    }

    /// The same in the background, unless somebody does so already.
    pub(crate) fn fetch_aside(self: &Arc<Self>) {
        if let Ok(tried) = Arc::clone(&self.tried).try_lock_owned() {
            self.begin(tried);
        }
    }

    fn begin(self: &Arc<Self>, tried: OwnedMutexGuard<Option<Instant>>) -> Option<JoinHandle<()>> {
        if tried.is_some_and(|at| at.elapsed() < self.least_interval) {
            return None;
        }
        let source = Arc::clone(self);
        let runtime = Handle::try_current().ok()?;
        Some(runtime.spawn(async move { source.fetch_now(tried).await }))
    }

    async fn fetch_now(&self, mut tried: OwnedMutexGuard<Option<Instant>>) {
        let fetched = match &self.place {
            Place::File(path) => {
                let (path, algorithms) = (path.clone(), self.algorithms.clone());
                let reading = tokio::task::spawn_blocking(move || read(&path, &algorithms)).await;
                *tried = Some(Instant::now());
                reading.unwrap_or_else(|error| Err(error.to_string()))
            }
            Place::Url { client, url, calls } => {
                let until = Instant::now() + TIMEOUT;
                let attempt = || get(client, (url, until), &self.algorithms);
                let passes = |fault: &FetchFault| if fault.passes { Fault::Passing } else { Fault::Down };
                match calls.call(until, attempt, passes).await {
                    Ok(keys) => {
                        *tried = Some(Instant::now());
                        Ok(keys)
                    }
                    // Told when it failed.
                    Err(CallError::Open) => return,
                    Err(CallError::Failed(fault)) => Err(fault.reason),
                }
            }
        };
        match fetched {
            Ok(keys) => *self.known.write() = Some(Known { keys, since: Instant::now() }),
            Err(error) => {
                tracing::warn!(error, "the key set that tokens are verified with cannot be fetched");
            }
        }
    }
}

fn client(ca_file: Option<&Path>) -> Result<Client, String> {
    // Whoever embeds us may have chosen already; then that one holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("adulis");
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem);
        let certificates = certificates.map_err(|error| format!("{}: {error}", path.display()))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| error.to_string())
}

/// One fetch that failed is enough: the next is a probe.
fn calls(outage: BackoffOptions) -> Calls {
    let retries = Retries::new(PAUSES).at_most(MAX_RETRIES).within(Arc::new(RetryBudget::default()));
    let BackoffOptions { min_delay, max_delay } = outage;
    Calls::new(
        retries,
        BreakerOptions { consecutive_failures: 1, min_delay, max_delay, ..BreakerOptions::default() },
    )
}

/// Why a key set could not be fetched.
struct FetchFault {
    reason: String,
    /// Whether another attempt may have more luck.
    passes: bool,
}

impl FetchFault {
    fn lasting(reason: String) -> Self {
        Self { reason, passes: false }
    }
}

async fn get(
    client: &Client,
    (url, until): (&str, Instant),
    algorithms: &[Algorithm],
) -> Result<Arc<KeySet>, FetchFault> {
    // The URL may have been written with a password in it, which the library's words would repeat.
    let said = |error: reqwest::Error| FetchFault {
        passes: true,
        reason: adulis_telemetry::causes(&error.without_url()),
    };
    let left = until.saturating_duration_since(Instant::now());
    let mut response = client.get(url).timeout(left).send().await.map_err(said)?;
    let status = response.status();
    if !status.is_success() {
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        return Err(FetchFault { reason: format!("the answer's status is {status}"), passes });
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(said)? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_KEY_SET_BYTES {
            let reason = format!("the answer is longer than {MAX_KEY_SET_BYTES} bytes");
            return Err(FetchFault::lasting(reason));
        }
    }
    let keys = KeySet::parse(&text, algorithms);
    keys.map(Arc::new).map_err(|error| FetchFault::lasting(format!("the answer {error}")))
}

fn read(path: &Path, algorithms: &[Algorithm]) -> Result<Arc<KeySet>, String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let most = u64::try_from(MAX_KEY_SET_BYTES).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut text))
        .map_err(said)?;
    if text.len() > MAX_KEY_SET_BYTES {
        return Err(format!("{} is longer than {MAX_KEY_SET_BYTES} bytes", path.display()));
    }
    let keys = KeySet::parse(&text, algorithms).map_err(|error| format!("{} {error}", path.display()))?;
    Ok(Arc::new(keys))
}
