use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::slice;

use crate::api::{OrtError, call, owned_text};
use crate::session::Session;

/// Configuration entry that has a session remember which provider runs which node.
pub(crate) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// How many of the model's nodes each execution provider runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placement(BTreeMap<String, usize>);

impl Placement {
    /// Asks a session that was made with [`RECORD`].
    pub(crate) fn of(session: &Session) -> Result<Self, OrtError> {
        let (mut parts, mut count) = (ptr::null(), 0);
        let mut nodes_of = BTreeMap::new();
        // SAFETY: the session is live and owns the parts, their names and their nodes; the arrays have the lengths that
        // are given with them.
        unsafe {
            call!(Session_GetEpGraphAssignmentInfo(session.as_ptr(), &raw mut parts, &raw mut count))?;
            let parts = if count == 0 { &[][..] } else { slice::from_raw_parts(parts, count) };
            for &part in parts {
                let (mut name, mut nodes, mut length) = (ptr::null(), ptr::null(), 0);
                call!(EpAssignedSubgraph_GetEpName(part, &raw mut name))?;
                call!(EpAssignedSubgraph_GetNodes(part, &raw mut nodes, &raw mut length))?;
                *nodes_of.entry(owned_text(name)).or_insert(0) += length;
            }
        }
        Ok(Self(nodes_of))
    }

    /// Nodes that any of `providers` runs.
    pub(crate) fn nodes_of<'a>(&self, providers: impl Iterator<Item = &'a str>) -> usize {
        providers.filter_map(|provider| self.0.get(provider)).sum()
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.0.values().sum()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nodes();
        for (index, (provider, nodes)) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{provider} ({nodes} of {total} nodes)")?;
        }
        Ok(())
    }
}
