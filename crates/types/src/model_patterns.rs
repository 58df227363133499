use crate::Name;

/// Which models an identity may name: patterns in which `*` stands for any run of characters, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPatterns(Patterns);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Patterns {
    All,
    Some(Box<[Name]>),
}

impl ModelPatterns {
    /// Every model.
    pub const ALL: ModelPatterns = ModelPatterns(Patterns::All);

    /// The models that any of `patterns` matches; none where there is no pattern.
    pub fn new<P: Into<Name>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns: Box<[Name]> = patterns.into_iter().map(Into::into).collect();
        if patterns.iter().any(|pattern| pattern == "*") {
            return Self::ALL;
        }
        Self(Patterns::Some(patterns))
    }

    /// Whether every model is among them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0 == Patterns::All
    }

    /// Whether `model` is among them.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        match &self.0 {
            Patterns::All => true,
            Patterns::Some(patterns) => patterns.iter().any(|pattern| matches(pattern, model)),
        }
    }

    /// The patterns, as they can be read back.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let patterns: &[Name] = match &self.0 {
            Patterns::All => &[],
            Patterns::Some(patterns) => patterns,
        };
        self.is_all().then_some("*").into_iter().chain(patterns.iter().map(Name::as_str))
    }
}

/// Takes the leftmost place for each part between stars, which finds a match where there is one.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_the_rest_for_itself() {
        for (pattern, yes, no) in [
            ("digits", &["digits"][..], &["", "digit", "digits2", "xdigits", "DIGITS"][..]),
            ("team-a-*", &["team-a-", "team-a-x", "team-a-*"], &["team-b-x", "xteam-a-y", "team-a"]),
            ("*-prod", &["-prod", "a-prod", "a-prod-prod"], &["a-prod-", "prod"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", "ba"]),
            ("*a*b*", &["ab", "xaxbx", "abab"], &["ba", "a", "b", ""]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("é*", &["é", "éa"], &["e"]),
            ("[a]?", &["[a]?"], &["a", "ax"]),
        ] {
            let patterns = ModelPatterns::new([pattern]);
            for name in yes {
                assert!(patterns.matches(name), "{pattern} {name}");
            }
            for name in no {
                assert!(!patterns.matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn no_pattern_matches_no_model() {
        let none = ModelPatterns::new::<Name>([]);
        assert!(!none.matches("") && !none.matches("m") && !none.is_all());
        let all = ModelPatterns::new(["a", "*"]);
        assert!(all.is_all() && all.matches(""));
        assert_eq!(all.iter().collect::<Vec<_>>(), ["*"]);
        assert_eq!(ModelPatterns::new(["a", "b*"]).iter().collect::<Vec<_>>(), ["a", "b*"]);
    }
}
