use std::collections::HashSet;

use crate::Name;

/// One value of a `parameters` object.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int64(i64),
    /// A whole number beyond `i64`.
    Uint64(u64),
    /// Any other number.
    Double(f64),
    /// Text.
    String(Name),
}

impl ParameterValue {
    /// A count. Numbers that fit `i64` have one form, whichever they came in: parameters are compared.
    #[must_use]
    pub fn count(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Uint64(value), Self::Int64)
    }

    /// The value as a count: a non-negative whole number, or text that is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            ParameterValue::Int64(value) => u64::try_from(*value).ok(),
            ParameterValue::Uint64(value) => Some(*value),
            ParameterValue::String(text) => text.parse().ok(),
            ParameterValue::Bool(_) | ParameterValue::Double(_) => None,
        }
    }

    /// The value as a flag.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            ParameterValue::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

/// A `parameters` object, in the order it came. Small: look-up is a scan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(Vec<(Name, ParameterValue)>);

impl Parameters {
    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets `name`, replacing an earlier value.
    pub fn set(&mut self, name: impl Into<Name>, value: ParameterValue) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// These, in this order; `None` where a name is there twice. However many they are, no name is looked for among all others.
    #[must_use]
    pub fn distinct(all: Vec<(Name, ParameterValue)>) -> Option<Self> {
        let is_distinct = {
            let mut seen = HashSet::new();
            // Most have one at most, which needs no memory.
            all.len() < 2 || all.iter().all(|(name, _)| seen.insert(name.as_str()))
        };
        is_distinct.then_some(Self(all))
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<ParameterValue> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
