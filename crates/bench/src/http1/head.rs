use crate::cached::{CACHE_FIELD, CacheOutcome};
use crate::failure::Failure;

/// Most header fields that an answer may have.
const FIELDS: usize = 100;

/// How the length of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// `Content-Length`.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Neither: it ends with the connection.
    UntilClose,
}

/// What a load generator needs of the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The status.
    pub(super) status: u16,
    /// Length of the head itself.
    pub(super) bytes: usize,
    pub(super) length: BodyLength,
    /// Whether another request may follow on the connection.
    pub(super) keep_alive: bool,
    /// `Inference-Header-Content-Length`.
    pub(super) inference_header_length: Option<usize>,
    /// What the server's response cache did, where it says so.
    pub(super) cache: Option<CacheOutcome>,
}

impl Head {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Reads a head from the front of `data`; `None` while it is incomplete.
///
/// Source: RFC 9112, sections 2 to 6.
pub(super) fn parse_head(data: &[u8]) -> Result<Option<Head>, Failure> {
    if data.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let bytes = match response.parse(data) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Failure::malformed(format!("head of the answer: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        bytes,
        length: BodyLength::UntilClose,
        keep_alive: response.version == Some(1),
        inference_header_length: None,
        cache: None,
    };
    for field in response.headers.iter() {
        take_field(&mut head, field.name, field.value)?;
    }
    if matches!(status, 100..=199 | 204 | 304) {
        head.length = BodyLength::Known(0);
    }
    if head.length == BodyLength::UntilClose {
        head.keep_alive = false;
    }
    Ok(Some(head))
}

fn take_field(head: &mut Head, name: &str, value: &[u8]) -> Result<(), Failure> {
    // The length tells most names apart at the cost of a comparison of integers.
    match name.len() {
        10 if name.eq_ignore_ascii_case("connection") => {
            if contains_token(value, b"close") {
                head.keep_alive = false;
            } else if contains_token(value, b"keep-alive") {
                head.keep_alive = true;
            }
        }
        12 if name.eq_ignore_ascii_case(CACHE_FIELD) => head.cache = CacheOutcome::read(value.trim_ascii()),
        14 if name.eq_ignore_ascii_case("content-length") => {
            let length = number(value).ok_or_else(|| Failure::malformed("content-length is no number"))?;
            // RFC 9112, 6.3: chunked wins over a length.
            if head.length != BodyLength::Chunked {
                head.length = BodyLength::Known(length);
            }
        }
        17 if name.eq_ignore_ascii_case("transfer-encoding") => {
            if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Failure::malformed("transfer-encoding is not chunked"));
            }
            head.length = BodyLength::Chunked;
        }
        31 if name.eq_ignore_ascii_case("inference-header-content-length") => {
            head.inference_header_length = number(value).and_then(|length| usize::try_from(length).ok());
        }
        _ => {}
    }
    Ok(())
}

fn contains_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn number(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value.trim_ascii()).ok()?;
    // `parse` would take a sign too.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_answer() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\ninference-header-content-length: 12\r\nContent-Length: 20\r\n\r\nbody";
        let head = parse_head(text).unwrap().unwrap();
        assert_eq!((head.status, head.bytes, head.length), (200, text.len() - 4, BodyLength::Known(20)));
        assert!(head.keep_alive && head.is_success());
        assert_eq!((head.inference_header_length, head.cache), (Some(12), None));
        for end in 0..text.len() - 4 {
            assert_eq!(parse_head(&text[..end]).unwrap(), None, "{end}");
        }
    }

    #[test]
    fn lengths_and_connections() {
        let head = |fields: &str| parse_head(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes());
        let good = |fields: &str| head(fields).unwrap().unwrap();
        let chunked = good("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n");
        assert_eq!((chunked.length, chunked.keep_alive), (BodyLength::Chunked, true));
        assert_eq!(good("Adulis-Cache: hit; age=2\r\n").cache, Some(CacheOutcome::Hit));
        let open = good("Connection: keep-alive\r\n");
        assert_eq!((open.length, open.keep_alive), (BodyLength::UntilClose, false));
        assert!(!good("Connection: foo, Close\r\nContent-Length: 0\r\n").keep_alive);
        for bad in [
            "Content-Length: -1\r\n",
            "Content-Length: +1\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert!(head(bad).is_err(), "{bad}");
        }
        let none = parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((none.length, none.keep_alive), (BodyLength::Known(0), true));
        let old = parse_head(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().unwrap();
        assert!(!old.keep_alive);
        assert!(parse_head(b"SSH-2.0-x\r\n\r\n").is_err());
    }
}
