use std::fmt;

use redis::{Cmd, Script};

/// A script that Redis runs in one step. It is sent once; afterwards its digest names it.
pub struct RedisScript {
    code: String,
    digest: String,
}

impl RedisScript {
    /// Of this code, which answers whole numbers.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self { code: code.to_owned(), digest: Script::new(code).get_hash().to_owned() }
    }

    /// The call by the digest.
    pub(super) fn named(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.digest, keys, arguments)
    }

    /// The call with the code, which the server keeps from then on.
    pub(super) fn whole(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", &self.code, keys, arguments)
    }
}

impl fmt::Debug for RedisScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisScript").field(&self.digest).finish()
    }
}

fn call(command: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(keys.len());
    for key in keys {
        call.arg(*key);
    }
    for argument in arguments {
        call.arg(*argument);
    }
    call
}
