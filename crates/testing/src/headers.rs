use adulis_types::{Header, RequestHeaders};

/// Headers of a request: names in lower case, and values, of which a name may have several.
#[derive(Debug, Clone, Copy)]
pub struct TestHeaders<'a>(pub &'a [(&'a str, &'a str)]);

impl RequestHeaders for TestHeaders<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        Header::of(self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()))
    }
}
