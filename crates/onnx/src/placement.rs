use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::slice;

use crate::api::{OrtError, call, owned_text};
use crate::session::Session;

/// Configuration entry that has a session remember which provider runs which node.
pub(crate) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// What each execution provider runs of the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placement(BTreeMap<String, Share>);

/// Nodes of one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    nodes: usize,
    convolutions: usize,
}

impl Placement {
    /// Asks a session that was made with [`RECORD`].
    pub(crate) fn of(session: &Session) -> Result<Self, OrtError> {
        let (mut parts, mut count) = (ptr::null(), 0);
        let mut shares = BTreeMap::<String, Share>::new();
        // SAFETY: the session is live and owns the parts, their nodes and all names; the arrays have the lengths that
        // are given with them.
        unsafe {
            call!(Session_GetEpGraphAssignmentInfo(session.as_ptr(), &raw mut parts, &raw mut count))?;
            let parts = if count == 0 { &[][..] } else { slice::from_raw_parts(parts, count) };
            for &part in parts {
                let (mut name, mut nodes, mut length) = (ptr::null(), ptr::null(), 0);
                call!(EpAssignedSubgraph_GetEpName(part, &raw mut name))?;
                call!(EpAssignedSubgraph_GetNodes(part, &raw mut nodes, &raw mut length))?;
                let share = shares.entry(owned_text(name)).or_default();
                share.nodes += length;
                let nodes = if length == 0 { &[][..] } else { slice::from_raw_parts(nodes, length) };
                for &node in nodes {
                    let mut operator = ptr::null();
                    call!(EpAssignedNode_GetOperatorType(node, &raw mut operator))?;
                    share.convolutions += usize::from(owned_text(operator).contains("Conv"));
                }
            }
        }
        Ok(Self(shares))
    }

    /// Nodes that any of `providers` runs.
    pub(crate) fn nodes_of<'a>(&self, providers: impl Iterator<Item = &'a str>) -> usize {
        providers.filter_map(|provider| self.0.get(provider)).map(|share| share.nodes).sum()
    }

    /// Convolutions that `provider` runs, transposed, fused and quantised ones included.
    pub(crate) fn convolutions_of(&self, provider: &str) -> usize {
        self.0.get(provider).map_or(0, |share| share.convolutions)
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.0.values().map(|share| share.nodes).sum()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nodes();
        for (index, (provider, Share { nodes, .. })) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{provider} ({nodes} of {total} nodes)")?;
        }
        Ok(())
    }
}
