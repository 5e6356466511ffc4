//! Media types that are spelt in more than one place.

pub const PROBLEM_JSON: &str = "application/problem+json";
pub const JSON: &str = "application/json";
