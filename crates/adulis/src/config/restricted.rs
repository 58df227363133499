//! APIs that are kept for requests with a header, as Triton's flags write them: `<apis>:<key>=<value>`.

use adulis_security::{ApiGroup, KeyDigest, RestrictedApi};
use adulis_types::Wire;

use super::check::Check;

const FORM: &str = "expected APIS:KEY=VALUE";
const REMEDY: &str = "for example \"model-repository,logging:admin-key=…\"";

impl Check<'_> {
    /// The restrictions over one protocol. An item without a key is of the one behind it, since variables have commas between
    /// items, and Triton has them between APIs.
    pub(super) fn restricted(&mut self, key: &str, wire: Wire, told: &[String]) -> Vec<RestrictedApi> {
        let (mut restricted, mut groups) = (Vec::new(), Vec::new());
        for item in told {
            let (apis, holder) = item.split_once(':').map_or((&**item, None), |(apis, it)| (apis, Some(it)));
            groups.extend(apis.split(',').filter_map(|name| self.api_group(key, name.trim())));
            let Some(holder) = holder else { continue };
            // The text is not repeated: it holds the key.
            let Some((header, value)) = holder
                .split_once('=')
                .filter(|(header, value)| ![header, value].iter().any(|it| it.is_empty()))
            else {
                self.faults.push_with_remedy(key, FORM, REMEDY);
                groups.clear();
                continue;
            };
            let Some(header) = self.header_name(key.to_owned(), header) else {
                groups.clear();
                continue;
            };
            let digest = value.parse().unwrap_or_else(|_| KeyDigest::of(value.as_bytes()));
            for group in groups.drain(..) {
                if restricted.iter().any(|earlier: &RestrictedApi| earlier.group == group) {
                    self.faults.push(key, format!("'{}' is restricted twice", group.as_str()));
                }
                restricted.push(RestrictedApi { wire, group, header: header.clone(), digest });
            }
        }
        if !groups.is_empty() {
            self.faults.push_with_remedy(key, FORM, REMEDY);
        }
        restricted
    }

    fn api_group(&mut self, key: &str, name: &str) -> Option<ApiGroup> {
        let group = ApiGroup::named(name);
        if group.is_none() {
            let known = ApiGroup::ALL.map(ApiGroup::as_str).join(", ");
            self.faults.push(key, format!("{name:?} is no API: expected {known}"));
        }
        group
    }
}

/// The restrictions over one protocol, with digests in place of the keys.
pub(super) fn print(restricted: &[RestrictedApi], wire: Wire) -> Vec<String> {
    let own = restricted.iter().filter(|api| api.wire == wire);
    own.map(|RestrictedApi { group, header, digest, .. }| format!("{}:{header}={digest}", group.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(items: &[&str]) -> Result<Vec<RestrictedApi>, Vec<String>> {
        let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
        let mut faults = Faults::default();
        let restricted = Check { faults: &mut faults }.restricted("k", Wire::Rest, &items);
        let told: Vec<String> = faults.into_vec().into_iter().map(|fault| fault.message).collect();
        if told.is_empty() { Ok(restricted) } else { Err(told) }
    }

    #[test]
    fn tritons_form_is_read_and_printed_without_the_key() {
        let told = [
            "health,model-repository:Admin-Key=a=b:c,d",
            "inference:infer-key=x",
        ];
        let restricted = checked(&told).unwrap();
        let found: Vec<_> = restricted.iter().map(|api| (api.group, &*api.header)).collect();
        let expected = [
            (ApiGroup::Health, "admin-key"),
            (ApiGroup::ModelRepository, "admin-key"),
            (ApiGroup::Inference, "infer-key"),
        ];
        assert_eq!(found, expected);
        assert_eq!(restricted[0].digest, KeyDigest::of(b"a=b:c,d"));
        let printed = print(&restricted, Wire::Rest);
        assert!(print(&restricted, Wire::Grpc).is_empty() && !printed.join(" ").contains("a=b"));
        let again: Vec<&str> = printed.iter().map(String::as_str).collect();
        assert_eq!(checked(&again), Ok(restricted), "{printed:?}");
        // As a variable is cut.
        assert_eq!(checked(&["trace", "logging:k=v"]), checked(&["trace,logging:k=v"]));
    }

    #[test]
    fn what_is_no_restriction_is_told_without_the_key() {
        for (items, expected) in [
            (&["inference"][..], FORM),
            (&["inference:planted"], FORM),
            (&["inference:planted="], FORM),
            (&["inference:=planted"], FORM),
            (&["infer:key=planted"], "\"infer\" is no API: expected health"),
            (&[":key=planted"], "\"\" is no API"),
            (&["trace:authorization=planted"], "\"authorization\" cannot hold a key"),
            (&["trace:a=planted", "trace,logging:b=planted"], "'trace' is restricted twice"),
        ] {
            let told = checked(items).unwrap_err();
            assert!(told.len() == 1 && told[0].starts_with(expected), "{items:?}: {told:?}");
            assert!(!told[0].contains("planted"), "{told:?}");
        }
    }
}
