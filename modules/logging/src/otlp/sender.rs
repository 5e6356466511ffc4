//! Whose records they are.

use kernel::Principal;

/// The scope of this installation's own processes: their records come as they were written, each
/// under the name of the module that wrote it.
const INTERNAL: &str = "logs:write:internal";
/// Longer names are cut; a search takes as many bytes.
const MAX_NAME_BYTES: usize = 128;

/// Who sent a request, and under which names its records are stored.
///
/// A service of its own choice may call itself anything, a module of ours too. What it says is
/// believed with the scope `logs:write:internal` alone; every other name is the sender's own, or
/// begins with it: `shop`, or `shop/checkout` when it says `checkout`. So nobody can pose as a
/// module, nor as another service, and there is no list of names to keep.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    id: String,
    internal: bool,
    /// Is the id itself the name of one of ours? Then it never stands alone.
    ours: bool,
}

impl Sender {
    /// `ours`: the names of the modules and of the host.
    pub(crate) fn new(principal: &Principal, ours: &[String]) -> Self {
        let id = match principal {
            Principal::User { id, .. } => id.to_string(),
            Principal::Service { id, .. } => id.clone(),
        };
        Self {
            internal: principal.has_scope(INTERNAL),
            ours: ours.contains(&id),
            id,
        }
    }

    /// What is stored for the `service.name` that a resource claims.
    pub(super) fn service(&self, claimed: Option<&str>) -> String {
        // "unknown_service" is what SDKs say when nobody told them.
        let claimed =
            claimed.filter(|name| !name.is_empty() && !name.starts_with("unknown_service"));
        let mut name = match claimed {
            Some(name) if self.internal => name.to_owned(),
            Some(name) if self.ours || name != self.id => format!("{}/{name}", self.id),
            None if self.ours && !self.internal => format!("{}/", self.id),
            _ => self.id.clone(),
        };
        name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_senders_own_unless_it_is_one_of_us() {
        let service = |id: &str, scopes: &[&str], claimed| {
            let principal = Principal::Service {
                id: id.to_owned(),
                scopes: scopes.iter().map(|&s| s.to_owned()).collect(),
            };
            let ours = ["banyan", "identity"].map(str::to_owned);
            Sender::new(&principal, &ours).service(claimed)
        };
        let outside = &["logs:write"][..];
        let internal = &["logs:write", INTERNAL][..];
        for (id, scopes, claimed, stored) in [
            ("shop", outside, Some("shop"), "shop"),
            ("shop", outside, None, "shop"),
            ("shop", outside, Some(""), "shop"),
            ("shop", outside, Some("unknown_service:java"), "shop"),
            ("shop", outside, Some("checkout"), "shop/checkout"),
            ("shop", outside, Some("identity"), "shop/identity"),
            ("identity", outside, Some("identity"), "identity/identity"),
            ("identity", outside, None, "identity/"),
            ("gateway-1", internal, Some("identity"), "identity"),
            ("gateway-1", internal, Some("hyper_util"), "hyper_util"),
            ("gateway-1", internal, None, "gateway-1"),
        ] {
            assert_eq!(service(id, scopes, claimed), stored);
        }
        let long = "é".repeat(100);
        assert_eq!(service("shop", outside, Some(&long)).len(), 127);
    }
}
