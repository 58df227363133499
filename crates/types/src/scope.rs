use std::fmt;

/// What an identity may do, in parts that are given or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Ask whether the server and its models live and are ready.
    Health,
    /// Run models.
    Infer,
    /// See what the server is, which models there are, and what they are like.
    Metadata,
    /// See what models have done.
    Statistics,
    /// Load and unload models.
    Repository,
    /// See what the response cache holds, and purge it.
    Cache,
    /// See and change what the log shows.
    Logging,
    /// See and change what is traced.
    Trace,
    /// Register regions of shared memory, and run models on them.
    SharedMemory,
    /// Scrape metrics.
    Metrics,
    /// All of it.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 11] = [
        Scope::Health,
        Scope::Infer,
        Scope::Metadata,
        Scope::Statistics,
        Scope::Repository,
        Scope::Cache,
        Scope::Logging,
        Scope::Trace,
        Scope::SharedMemory,
        Scope::Metrics,
        Scope::Admin,
    ];

    /// Its name, as keys, tokens and the configuration have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Health => "health",
            Scope::Infer => "infer",
            Scope::Metadata => "metadata",
            Scope::Statistics => "statistics",
            Scope::Repository => "repository",
            Scope::Cache => "cache",
            Scope::Logging => "logging",
            Scope::Trace => "trace",
            Scope::SharedMemory => "shm",
            Scope::Metrics => "metrics",
            Scope::Admin => "admin",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// None of them.
    pub const NONE: Scopes = Scopes(0);

    /// Whether what needs `scope` is permitted: it is in the set, or [`Scope::Admin`] is.
    #[must_use]
    pub const fn permit(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The set with `scope` in it.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether it is empty: nothing is permitted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_permits_what_is_in_it_and_admin_everything() {
        for one in Scope::ALL {
            let set = Scopes::NONE.with(one);
            for other in Scope::ALL {
                assert_eq!(set.permit(other), one == other || one == Scope::Admin, "{one:?} {other:?}");
            }
            assert_eq!(set.iter().collect::<Vec<_>>(), [one]);
            assert_eq!(Scope::named(one.as_str()), Some(one));
        }
        assert!(Scope::ALL.into_iter().all(|scope| !Scopes::NONE.permit(scope)));
        assert_eq!((Scope::named("Infer"), Scope::named("")), (None, None));
        assert_eq!(
            format!("{:?}", Scope::ALL[..2].iter().copied().collect::<Scopes>()),
            r#"{"health", "infer"}"#
        );
    }
}
