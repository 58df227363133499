//! Resources that runs share: units that a run takes before it begins, and gives back when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One kind of unit: the whole machine's, or one device's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Its name.
    pub name: Arc<str>,
    /// The device that has it; `None`: there is one pool for the machine.
    pub device: Option<u32>,
}

/// How many units there are, where that is said and not derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The resource's name.
    pub name: Arc<str>,
    /// Units.
    pub count: u32,
    /// Only of this device; `None`: of every device, or of the machine where the resource is one of the machine's.
    pub device: Option<u32>,
}

/// What one run takes.
pub type Needs = Vec<(Resource, u32)>;

/// What cannot be: a model could never run, or two models mean different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitFault {
    /// A run needs more units than there are.
    TooFew {
        /// The resource.
        resource: Resource,
        /// What a run needs.
        needed: u32,
        /// What there is.
        limit: u32,
    },
    /// One model has the resource for the machine, another for each device.
    BothScopes {
        /// Its name.
        name: Arc<str>,
    },
}

/// Decides which members may run, so that no resource is ever used beyond its count.
///
/// Those that wait are served by the turns that they had: a run of a member of priority `p` counts `p`, whoever has the
/// lowest sum is first, and nobody saves turns up while he does not want any. A resource that somebody waits for is not given
/// to those behind him, so that many small needs do not starve a large one.
///
/// Source: Triton's rate limiter (resources, and priorities by execution count); the sums follow start-time fair queueing
/// (Goyal, Vin, Cheng: "Start-time Fair Queueing", 1997), so that who comes later does not have to be let catch up.
#[derive(Debug)]
pub struct ResourceLimiter<K> {
    limits: Vec<ResourceLimit>,
    resources: BTreeMap<Resource, Units>,
    members: BTreeMap<K, Member>,
    /// The sum at which the latest run began.
    now: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Units {
    limit: u32,
    used: u32,
}

#[derive(Debug)]
struct Member {
    /// What a run needs, by kind of instance.
    kinds: Vec<Needs>,
    priority: u32,
    turns: u64,
    /// The kinds that it waits for.
    waiting: BTreeSet<usize>,
    /// The kind that it was given after waiting, and has not taken yet.
    granted: Option<usize>,
}

impl<K: Ord + Clone> ResourceLimiter<K> {
    /// No members yet. Without any limit, there are as many units of a resource as the most that a run of any member needs.
    #[must_use]
    pub fn new(limits: Vec<ResourceLimit>) -> Self {
        Self { limits, resources: BTreeMap::new(), members: BTreeMap::new(), now: 0 }
    }

    /// Makes a member known, with what a run of each kind of its instances needs. Priority 1 is the highest.
    ///
    /// Gives those that may run now because there are more units.
    ///
    /// # Errors
    /// [`LimitFault`]; nothing has changed then.
    pub fn register(&mut self, key: K, kinds: Vec<Needs>, priority: u32) -> Result<Vec<K>, LimitFault> {
        let kinds: Vec<Needs> = kinds.into_iter().map(summed).collect();
        for (resource, needed) in kinds.iter().flatten() {
            if self.resources.keys().any(|other| {
                other.name == resource.name && other.device.is_none() != resource.device.is_none()
            }) {
                return Err(LimitFault::BothScopes { name: Arc::clone(&resource.name) });
            }
            if let Some(limit) = self.said(resource).filter(|limit| limit < needed) {
                let (resource, needed) = (resource.clone(), *needed);
                return Err(LimitFault::TooFew { resource, needed, limit });
            }
        }
        let (waiting, granted) = (BTreeSet::new(), None);
        let member = Member { kinds, priority: priority.max(1), turns: self.now, waiting, granted };
        self.members.insert(key, member);
        self.count();
        Ok(self.settle())
    }

    /// Forgets a member that runs nothing. Gives those that may run now because it waits no more.
    pub fn unregister(&mut self, key: &K) -> Vec<K> {
        let woken = self.leave(key);
        self.members.remove(key);
        self.count();
        woken
    }

    /// Whether a run on this kind of instance may begin; then its units are taken. Else the member waits until one of the
    /// calls gives it.
    pub fn begin(&mut self, key: &K, kind: usize) -> bool {
        let now = self.now;
        let Some(member) = self.members.get_mut(key) else {
            return true;
        };
        if member.granted == Some(kind) {
            member.granted = None;
            return true;
        }
        if member.granted.is_some() || member.kinds.get(kind).is_none_or(Vec::is_empty) {
            return member.granted.is_none();
        }
        // One that waits keeps its place: then nobody else can be given anything here, since nothing has become free.
        if member.waiting.is_empty() {
            member.turns = member.turns.max(now);
        }
        member.waiting.insert(kind);
        let given = self.settle();
        debug_assert!(given.iter().all(|given| given == key), "nothing has become free");
        let member = self.members.get_mut(key);
        member.is_some_and(|member| member.granted.take_if(|granted| *granted == kind).is_some())
    }

    /// A run has ended, however it did: its units are free. Gives those that may run now; each has its units already.
    pub fn end(&mut self, key: &K, kind: usize) -> Vec<K> {
        if let Some(member) = self.members.get(key) {
            give_back(&mut self.resources, &member.kinds[kind]);
        }
        self.settle()
    }

    /// What was begun found nothing to run: its units are free, and the member has its turn still. Gives those that may run now.
    pub fn undo(&mut self, key: &K, kind: usize) -> Vec<K> {
        if let Some(member) = self.members.get_mut(key) {
            member.turns = member.turns.saturating_sub(u64::from(member.priority));
        }
        self.end(key, kind)
    }

    /// A member wants nothing at present. What it was given and has not taken is free. Gives those that may run now.
    pub fn leave(&mut self, key: &K) -> Vec<K> {
        let Some(member) = self.members.get_mut(key) else {
            return Vec::new();
        };
        if member.waiting.is_empty() && member.granted.is_none() {
            return Vec::new();
        }
        member.waiting.clear();
        if let Some(kind) = member.granted.take() {
            give_back(&mut self.resources, &member.kinds[kind]);
        }
        self.settle()
    }

    /// Units of a resource that are used, and how many there are.
    #[must_use]
    pub fn units(&self, resource: &Resource) -> (u32, u32) {
        self.resources.get(resource).map_or((0, 0), |units| (units.used, units.limit))
    }

    /// Gives units to those that wait, in their order; whoever has to go on waiting keeps those behind him from what he needs.
    fn settle(&mut self) -> Vec<K> {
        let waiting = self.members.iter().filter(|(_, member)| !member.waiting.is_empty());
        let mut order: Vec<(u64, K)> = waiting.map(|(key, member)| (member.turns, key.clone())).collect();
        order.sort();
        let mut kept = BTreeSet::new();
        let mut given = Vec::new();
        for (turns, key) in order {
            let Some(member) = self.members.get_mut(&key) else {
                continue;
            };
            let fits = |kind: &usize| {
                member.kinds[*kind].iter().all(|(resource, count)| {
                    let units = self.resources.get(resource).copied().unwrap_or_default();
                    !kept.contains(resource) && units.used.saturating_add(*count) <= units.limit
                })
            };
            match member.waiting.iter().copied().find(fits) {
                Some(kind) => {
                    for (resource, count) in &member.kinds[kind] {
                        self.resources.entry(resource.clone()).or_default().used += count;
                    }
                    self.now = self.now.max(turns);
                    member.turns = turns.saturating_add(u64::from(member.priority));
                    member.waiting.clear();
                    member.granted = Some(kind);
                    given.push(key);
                }
                None => {
                    let needed = member.waiting.iter().flat_map(|kind| &member.kinds[*kind]);
                    kept.extend(needed.map(|(resource, _)| resource.clone()));
                }
            }
        }
        given
    }

    /// How many units there are, as it is said; `None` where nothing is said of any resource.
    fn said(&self, resource: &Resource) -> Option<u32> {
        if self.limits.is_empty() {
            return None;
        }
        let of_it = |limit: &&ResourceLimit| {
            limit.name == resource.name
                && (resource.device.is_none() || limit.device.is_none() || limit.device == resource.device)
        };
        Some(self.limits.iter().filter(of_it).map(|limit| limit.count).max().unwrap_or(0))
    }

    /// Counts the units anew. A resource that nobody needs any more is forgotten once nobody uses it.
    fn count(&mut self) {
        let mut most: BTreeMap<Resource, u32> = BTreeMap::new();
        for (resource, count) in self.members.values().flat_map(|member| &member.kinds).flatten() {
            let entry = most.entry(resource.clone()).or_default();
            *entry = (*entry).max(*count);
        }
        self.resources.retain(|resource, units| units.used > 0 || most.contains_key(resource));
        for (resource, needed) in most {
            let limit = self.said(&resource).unwrap_or(needed);
            self.resources.entry(resource).or_default().limit = limit;
        }
    }
}

/// The same needs with each resource once.
fn summed(needs: Needs) -> Needs {
    let mut sums: BTreeMap<Resource, u32> = BTreeMap::new();
    for (resource, count) in needs {
        let sum = sums.entry(resource).or_default();
        *sum = sum.saturating_add(count);
    }
    sums.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn give_back(resources: &mut BTreeMap<Resource, Units>, needs: &Needs) {
    for (resource, count) in needs {
        if let Some(units) = resources.get_mut(resource) {
            units.used = units.used.saturating_sub(*count);
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            None => write!(f, "'{}'", self.name),
            Some(device) => write!(f, "'{}' of device {device}", self.name),
        }
    }
}

impl fmt::Display for LimitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitFault::TooFew { resource, needed, limit } => {
                write!(f, "needs {needed} units of resource {resource}, of which there are {limit}")
            }
            LimitFault::BothScopes { name } => {
                write!(f, "resource '{name}' is global in one model and not in another")
            }
        }
    }
}

#[cfg(test)]
mod tests;
