//! Who calls: taken from the verified access token, never from another module's tables.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
};

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::{
    ids::{SessionId, UserId},
    problem::Problem,
};

/// The verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    User {
        id: UserId,
        session: SessionId,
        roles: Vec<String>,
        scopes: Vec<String>,
    },
    Service {
        id: String,
        scopes: Vec<String>,
    },
}

impl Principal {
    /// As events and audit entries name it.
    pub fn actor(&self) -> String {
        match self {
            Self::User { id, .. } => format!("user:{id}"),
            Self::Service { id, .. } => format!("service:{id}"),
        }
    }

    pub fn has_role(&self, role: &str) -> bool {
        matches!(self, Self::User { roles, .. } if roles.iter().any(|r| r == role))
    }

    pub fn has_scope(&self, scope: &str) -> bool {
        let (Self::User { scopes, .. } | Self::Service { scopes, .. }) = self;
        scopes.iter().any(|s| s == scope)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthorized)
    }
}

/// A signed-in person, for handlers that serve nobody else.
#[derive(Clone, Copy, Debug)]
pub struct CurrentUser {
    pub id: UserId,
    pub session: SessionId,
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Principal::from_request_parts(parts, state).await? {
            Principal::User { id, session, .. } => Ok(Self { id, session }),
            Principal::Service { .. } => Err(Problem::forbidden("This is for people only.")),
        }
    }
}

/// The caller's network address, as the edge established it; absent in some tests.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<std::net::IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .copied()
            .unwrap_or(Self(None)))
    }
}

/// What counts as one client: an IPv4 address, or the /64 network of an IPv6 address, of which one
/// client usually has all.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
