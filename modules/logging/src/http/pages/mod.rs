//! The pages that administrators see of logging. They need no script, but for what comes as it comes.

mod audit;
mod logs;
mod trace;
mod view;

use kernel::{
    Routes, Text,
    fragment::{Area, NavItem},
};

use super::ADMIN;
use crate::State;

pub(crate) const NAVIGATION: &[NavItem] = &[
    NavItem {
        area: Area::Admin,
        path: "/admin/logs",
        title: Text::new("Logs", "Logs"),
        position: 60,
    },
    NavItem {
        area: Area::Admin,
        path: "/admin/audit",
        title: Text::new("Audit trail", "Audit-Protokoll"),
        position: 70,
    },
];

pub(crate) fn add(routes: Routes<State>) -> Routes<State> {
    routes
        .page(ADMIN, "/admin/logs", logs::page)
        .page(ADMIN, "/admin/logs/trace/{id}", trace::page)
        .page(ADMIN, "/admin/audit", audit::page)
        .form(ADMIN, "/admin/audit/verification", audit::verify)
}
