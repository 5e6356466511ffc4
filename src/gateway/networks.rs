//! Who may come near, by address: `[[gateway.networks]]`, `gateway.admin_allow`, and a route's own `allow`
//! and `deny`.

use std::net::IpAddr;

use axum::extract::Request;
use kernel::{Access, Module, Problem};
use serde::Deserialize;

use crate::{
    config::{Gateway, Network},
    gateway::{is_below, limits::client, outside},
};

/// Whoever is in `deny` is refused; where `allow` names anybody, everybody else is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    pub allow: Vec<Network>,
    pub deny: Vec<Network>,
}

impl Lists {
    /// An address that is not known is refused wherever there is a list.
    pub fn check(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        let among = |networks: &[Network]| {
            address.is_some_and(|address| networks.iter().any(|n| n.contains(address)))
        };
        let known = address.is_some() || (self.allow.is_empty() && self.deny.is_empty());
        if known && !among(&self.deny) && (self.allow.is_empty() || among(&self.allow)) {
            return Ok(());
        }
        Err(Problem::forbidden("Your network may not come here."))
    }
}

/// One rule: for everything below a prefix, our modules' paths too.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub prefix: String,
    #[serde(default)]
    pub allow: Vec<Network>,
    #[serde(default)]
    pub deny: Vec<Network>,
}

/// What is wrong with the rules, by name.
pub fn faults(rules: &[Rule]) -> Vec<String> {
    let mut faults = Vec::new();
    for rule in rules {
        let prefix = &rule.prefix;
        // "/" alone is everything.
        if prefix != "/" && !outside::is_prefix(prefix) {
            faults.push(format!(
                "gateway.networks: {prefix:?} is no prefix such as \"/setup\""
            ));
        }
        if rule.allow.is_empty() && rule.deny.is_empty() {
            let why = "names no network in allow or deny";
            faults.push(format!("gateway.networks: the rule for {prefix:?} {why}"));
        }
    }
    faults
}

/// What is for administrators, beside the routes that ask for their role.
const ADMIN: &[&str] = &["/admin", "/api/v1/admin", "/setup"];
const ADMIN_ROLE: &str = "admin";

/// Everything that is for administrators alone; what is in a path's parameters makes no difference.
fn admin_prefixes(modules: &[&dyn Module]) -> Vec<String> {
    let routes = modules.iter().flat_map(|module| module.api().routes);
    let routes = routes.filter(|route| route.access == Access::Role(ADMIN_ROLE));
    let paths = routes.map(|route| {
        let fixed = route.path.split("/{").next().unwrap_or_default();
        fixed.to_owned()
    });
    let mut prefixes: Vec<_> = ADMIN.iter().map(|p| (*p).to_owned()).chain(paths).collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

pub struct Networks {
    rules: Vec<(String, Lists)>,
}

impl Networks {
    pub fn new(config: &Gateway, modules: &[&dyn Module]) -> Self {
        let admin = match &*config.admin_allow {
            [] => Vec::new(),
            _ => admin_prefixes(modules),
        };
        let admin = admin.into_iter().map(|prefix| {
            let lists = Lists {
                allow: config.admin_allow.clone(),
                deny: Vec::new(),
            };
            (prefix, lists)
        });
        let rules = config.networks.iter().map(|rule| {
            let lists = Lists {
                allow: rule.allow.clone(),
                deny: rule.deny.clone(),
            };
            (rule.prefix.trim_end_matches('/').to_owned(), lists)
        });
        Self {
            rules: rules.chain(admin).collect(),
        }
    }

    /// Every rule for the path must let the client pass.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let path = request.uri().path();
        outside::plain(path)?;
        let mut rules = self.rules.iter();
        rules.try_for_each(|(prefix, lists)| {
            if is_below(path, prefix) {
                lists.check(client(request))
            } else {
                Ok(())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(lists: serde_json::Value, address: Option<&str>) -> bool {
        let lists: Lists = serde_json::from_value(lists).unwrap();
        lists.check(address.map(|a| a.parse().unwrap())).is_ok()
    }

    #[test]
    fn deny_wins_and_an_allow_list_excludes_everybody_else() {
        use serde_json::json;
        let none = json!({});
        assert!(allows(none.clone(), Some("1.2.3.4")) && allows(none, None));
        let office = json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.6.0.0/16"] });
        for (address, may) in [
            (Some("10.1.2.3"), true),
            (Some("10.6.2.3"), false),
            (Some("2001:db8::1"), true),
            (Some("11.1.2.3"), false),
            (None, false),
        ] {
            assert_eq!(allows(office.clone(), address), may, "{address:?}");
        }
        let banned = json!({ "deny": ["10.6.0.0/16"] });
        assert!(allows(banned.clone(), Some("1.2.3.4")));
        assert!(!allows(banned.clone(), Some("10.6.1.1")) && !allows(banned, None));
    }
}
