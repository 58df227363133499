//! What readiness tells of the backends that connections are pooled to.

use std::borrow::Cow;

use adulis_pool::{BackendStatus, Health};
use adulis_types::Dependency;

/// A backend as readiness tells it: one server, or several that are one to whoever asks.
pub(crate) struct PoolDependency {
    name: &'static str,
    status: Box<dyn Fn() -> Vec<BackendStatus> + Send + Sync>,
}

impl PoolDependency {
    /// A backend of this name that is seen so.
    pub(crate) fn new(
        name: &'static str,
        status: impl Fn() -> Vec<BackendStatus> + Send + Sync + 'static,
    ) -> Self {
        Self { name, status: Box::new(status) }
    }
}

impl Dependency for PoolDependency {
    fn name(&self) -> &'static str {
        self.name
    }

    fn problem(&self) -> Option<Cow<'static, str>> {
        let told: Vec<String> = (self.status)().iter().filter_map(problem).collect();
        (!told.is_empty()).then(|| told.join("; ").into())
    }
}

fn problem(status: &BackendStatus) -> Option<String> {
    if status.health != Health::Down {
        return None;
    }
    let ago = status.since.elapsed().unwrap_or_default().as_secs();
    let reason = status.last_error.as_deref().unwrap_or("it does not answer");
    Some(format!("{} is down for {ago} s: {reason}", status.backend))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn readiness_tells_which_backends_are_down() {
        let status = |backend: &str, health| BackendStatus {
            backend: backend.into(),
            health,
            since: SystemTime::now(),
            last_error: Some("gone".to_owned()),
        };
        let of = |healths: [Health; 2]| {
            let status = move || {
                vec![
                    status("memcached a:1", healths[0]),
                    status("memcached b:1", healths[1]),
                ]
            };
            PoolDependency::new("memcached", status).problem()
        };
        assert_eq!(of([Health::Up, Health::Unknown]), None);
        assert_eq!(of([Health::Up, Health::Down]).unwrap(), "memcached b:1 is down for 0 s: gone");
        assert!(of([Health::Down; 2]).unwrap().contains("; memcached b:1 is down"));
    }
}
