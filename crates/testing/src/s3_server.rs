use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// What becomes of a request to an [`S3Server`], in place of its answer.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// This status.
    Status(u16),
    /// No answer: the connection is closed.
    Closes,
    /// No answer, ever.
    Hangs,
    /// What no client understands.
    Nonsense,
    /// So many bytes of the body, then the connection is closed.
    CutAfter(usize),
    /// All of the object, whatever part was asked for.
    IgnoresRange,
}

/// The requests that are in trouble.
#[derive(Debug)]
struct Rule {
    /// What is in their first line, or their `Range`.
    like: &'static str,
    /// How many of them still.
    left: usize,
    trouble: Trouble,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, String>,
    rules: Vec<Rule>,
    asked: Vec<String>,
    /// Objects on a page of a listing.
    page: usize,
    /// What is written around tags where objects are answered, and where they are listed.
    quotes: (&'static str, &'static str),
}

/// A server that speaks as much of S3's protocol as a mirror asks for, over HTTP, with faults on demand; until the test ends.
#[derive(Debug, Clone)]
pub struct S3Server {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl S3Server {
    /// With objects in a bucket called `bucket`.
    ///
    /// # Panics
    /// Where there is no free port.
    #[must_use]
    pub fn start(objects: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a port that is bound");
        let state = State { page: 1000, quotes: ("\"", "\""), ..State::default() };
        let server = Self { address, state: Arc::new(Mutex::new(state)) };
        objects.iter().for_each(|(key, content)| server.put(key, content));
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // A client that is gone is no fault.
                thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        server
    }

    /// Puts an object there, or another one in its place.
    pub fn put(&self, key: &str, content: &str) {
        self.state.lock().objects.insert(key.to_owned(), content.to_owned());
    }

    /// The next so many requests that are like this are in trouble: that have it in their first line, or their `Range`.
    pub fn trouble(&self, like: &'static str, times: usize, trouble: Trouble) {
        self.state.lock().rules.push(Rule { like, left: times, trouble });
    }

    /// Ends all trouble.
    pub fn end_trouble(&self) {
        self.state.lock().rules.clear();
    }

    /// No more than so many objects are on a page of a listing.
    pub fn page(&self, objects: usize) {
        self.state.lock().page = objects;
    }

    /// Tags are told in one way with objects and in another one in listings; where they differ, they are not compared.
    pub fn quote(&self, objects: &'static str, listings: &'static str) {
        self.state.lock().quotes = (objects, listings);
    }

    /// What was asked since this was asked last: `GET a/1/model.onnx bytes=4-`, `LIST`, `LIST after a/1/model.onnx`.
    #[must_use]
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut request = Request::default();
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            request.line(line.trim_end());
            line.clear();
        }
        let stream = reader.get_mut();
        let trouble = self.note(&request);
        let answer = match trouble {
            Some(Trouble::Closes) => return Ok(()),
            Some(Trouble::Hangs) => return stream.read(&mut [0]).map(drop),
            Some(Trouble::Status(status)) => Answer::status(status),
            Some(Trouble::Nonsense) => Answer::of("<html>"),
            Some(Trouble::IgnoresRange) => self.answer(&Request { range: None, ..request.clone() }),
            Some(Trouble::CutAfter(_)) | None => self.answer(&request),
        };
        let mut bytes = answer.head().into_bytes();
        let body = if request.method == "HEAD" { "" } else { &answer.body };
        let cut = match trouble {
            Some(Trouble::CutAfter(bytes)) => bytes,
            _ => body.len(),
        };
        bytes.extend_from_slice(&body.as_bytes()[..cut.min(body.len())]);
        stream.write_all(&bytes)
    }

    /// Writes a request down, and says whether it is in trouble.
    fn note(&self, request: &Request) -> Option<Trouble> {
        let mut state = self.state.lock();
        let told = request.told();
        let rule = state.rules.iter_mut().find(|rule| rule.left > 0 && told.contains(rule.like));
        let trouble = rule.map(|rule| {
            rule.left -= 1;
            rule.trouble
        });
        state.asked.push(told);
        trouble
    }

    fn answer(&self, request: &Request) -> Answer {
        let state = self.state.lock();
        let Some(key) = request.key() else {
            return Answer::of(&list(&state, request));
        };
        let Some(content) = state.objects.get(key) else {
            return Answer::status(404);
        };
        let tag = tag(content, state.quotes.0);
        let compares = state.quotes.0 == state.quotes.1;
        if compares && request.if_match.as_ref().is_some_and(|wanted| *wanted != tag) {
            return Answer::status(412);
        }
        let mut answer = Answer::of(content);
        if !tag.is_empty() {
            let _ = write!(answer.headers, "etag: {tag}\r\n");
        }
        if let Some(start) = request.range {
            let (last, size) = (content.len() - 1, content.len());
            let _ = write!(answer.headers, "content-range: bytes {start}-{last}/{size}\r\n");
            (answer.status, answer.body) = (206, content[start..].to_owned());
        }
        answer
    }
}

/// A tag that only this content has; none where nothing is to be written around it.
fn tag(content: &str, quotes: &str) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    match quotes {
        "" => String::new(),
        quotes => format!("{quotes}{:016x}{quotes}", hasher.finish()),
    }
}

fn list(state: &State, request: &Request) -> String {
    let prefix = request.parameter("prefix").unwrap_or_default();
    let after = request.parameter("continuation-token").unwrap_or_default();
    let by_folder = request.parameter("delimiter").is_some();
    let (mut folders, mut text) = (Vec::new(), String::from("<ListBucketResult>"));
    let wanted = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let mut wanted = wanted.peekable();
    for (key, content) in wanted.by_ref().take(state.page) {
        match key[prefix.len()..].split_once('/').filter(|_| by_folder) {
            Some((folder, _)) => folders.push(format!("{prefix}{folder}/")),
            None => {
                let (size, tag) = (content.len(), tag(content, state.quotes.1));
                let tag = if tag.is_empty() { tag } else { format!("<ETag>{tag}</ETag>") };
                let _ = write!(
                    text,
                    "<Contents><Key>{key}</Key><Size>{size}</Size>{tag}<LastModified>2026-11-01T12:00:00.000Z</LastModified></Contents>"
                );
            }
        }
    }
    folders.dedup();
    for folder in folders {
        let _ = write!(text, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    let last = state.objects.keys().rfind(|key| wanted.peek().is_some_and(|(next, _)| *key < *next));
    if let Some(last) = last {
        let _ = write!(text, "<NextContinuationToken>{last}</NextContinuationToken>");
    }
    text + "</ListBucketResult>"
}

#[derive(Debug, Default, Clone)]
struct Request {
    method: String,
    /// Path and query, without escapes.
    target: String,
    range: Option<usize>,
    if_match: Option<String>,
}

impl Request {
    fn line(&mut self, line: &str) {
        if self.method.is_empty() {
            let mut words = line.split(' ').map(str::to_owned);
            self.method = words.next().unwrap_or_default();
            self.target = words.next().unwrap_or_default().replace("%2F", "/");
        }
        let Some((name, value)) = line.split_once(": ") else {
            return;
        };
        match &*name.to_ascii_lowercase() {
            "range" => {
                self.range = value.strip_prefix("bytes=").and_then(|it| it.strip_suffix('-')?.parse().ok());
            }
            "if-match" => self.if_match = Some(value.to_owned()),
            _ => {}
        }
    }

    /// The object; `None` for a listing.
    fn key(&self) -> Option<&str> {
        self.target
            .strip_prefix("/bucket/")
            .filter(|key| !key.is_empty() && !key.starts_with('?'))
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    fn told(&self) -> String {
        let told = match self.key() {
            Some(key) => format!("{} {key}", self.method),
            None => "LIST".to_owned(),
        };
        match (self.range, self.parameter("continuation-token")) {
            (Some(start), _) => format!("{told} bytes={start}-"),
            (_, Some(token)) => format!("{told} after {token}"),
            _ => told,
        }
    }
}

struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn of(body: &str) -> Self {
        Self { status: 200, headers: String::new(), body: body.to_owned() }
    }

    fn status(status: u16) -> Self {
        Self { status, ..Self::of("<Error><Code>Trouble</Code></Error>") }
    }

    fn head(&self) -> String {
        let Self { status, headers, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Told\r\nconnection: close\r\ncontent-length: {length}\r\n\
             last-modified: Sun, 01 Nov 2026 12:00:00 GMT\r\n{headers}\r\n"
        )
    }
}
