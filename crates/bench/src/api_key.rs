use std::convert::Infallible;
use std::fmt;

use anyhow::bail;
use clap::Args;
use http::{HeaderName, HeaderValue, header};

/// The key that a server is shown.
#[derive(Debug, Clone, Default, Args)]
pub struct ApiKeyArgs {
    /// API key or token, sent as `authorization: Bearer KEY`; better in the environment than here, where others see it
    #[arg(long, value_name = "KEY", env = "ADULIS_API_KEY", hide_env_values = true, value_parser = read)]
    pub api_key: Option<ApiKey>,
}

/// A key, which is not shown.
#[derive(Clone)]
pub struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(********)")
    }
}

/// What is wrong with it is said later, since the command line's own complaint would repeat it.
fn read(key: &str) -> Result<ApiKey, Infallible> {
    Ok(ApiKey(key.to_owned()))
}

impl ApiKeyArgs {
    /// The headers that show it.
    ///
    /// # Errors
    /// It cannot be a header's value.
    pub(crate) fn headers(&self) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
        let Some(ApiKey(key)) = &self.api_key else {
            return Ok(Vec::new());
        };
        let fit = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        match fit.then(|| HeaderValue::try_from(format!("Bearer {key}")).ok()).flatten() {
            Some(mut value) => {
                value.set_sensitive(true);
                Ok(vec![(header::AUTHORIZATION, value)])
            }
            None => bail!("the API key must be visible ASCII characters without spaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(key: &str) -> ApiKeyArgs {
        ApiKeyArgs { api_key: Some(ApiKey(key.to_owned())) }
    }

    #[test]
    fn a_key_is_sent_and_not_shown() {
        let args_of_key = args("adulis_x");
        assert_eq!(args_of_key.headers().unwrap()[0].1.as_bytes(), b"Bearer adulis_x");
        assert!(!format!("{args_of_key:?}").contains("adulis_x"));
        assert!(ApiKeyArgs::default().headers().unwrap().is_empty());
        for key in ["", "a b", "a\r\nx: y", "é"] {
            let refused = args(key).headers().unwrap_err().to_string();
            assert!(key.is_empty() || !refused.contains(key), "{refused}");
        }
    }
}
