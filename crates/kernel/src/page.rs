//! Lists are paged by key: a cursor names the last item seen, and nothing is counted or skipped.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{FieldError, Problem};

/// Query parameters of every list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// Where the previous page ended: its `next_cursor`.
    pub cursor: Option<String>,
    /// Items on the page, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

pub const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 200;

impl PageParams {
    pub fn limit(&self) -> Result<i64, Problem> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(i64::from(limit)),
            _ => Err(Problem::validation(vec![FieldError::new(
                "limit",
                format!("must be 1 to {MAX_LIMIT}"),
            )])),
        }
    }

    /// The key in the cursor. A cursor is opaque to clients but not a secret: it grants nothing.
    pub fn cursor<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let key = (cursor.len() <= 512)
            .then(|| BASE64_URL_SAFE_NO_PAD.decode(cursor).ok())
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match key {
            Some(key) => Ok(Some(key)),
            None => Err(Problem::validation(vec![FieldError::new(
                "cursor",
                "is not one that this list gave",
            )])),
        }
    }
}

/// The cursor after an item.
pub fn cursor_after<K: Serialize>(key: &K) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).expect("keys are plain data"))
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// From one row more than was asked for, which tells whether there is a next page.
    pub fn from_rows<R, K: Serialize>(
        mut rows: Vec<R>,
        limit: i64,
        key: impl Fn(&R) -> K,
        item: impl Fn(R) -> T,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| cursor_after(&key(last)));
        Self {
            items: rows.into_iter().map(item).collect(),
            next_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_forged_ones_do_not() {
        let params = PageParams {
            cursor: Some(cursor_after(&(3_i64, "x"))),
            limit: None,
        };
        assert_eq!(
            params.cursor::<(i64, String)>().unwrap(),
            Some((3, "x".to_owned()))
        );
        let forged = PageParams {
            cursor: Some("' OR 1=1".into()),
            limit: Some(0),
        };
        assert!(forged.cursor::<i64>().is_err());
        assert!(forged.limit().is_err());
    }

    #[test]
    fn the_extra_row_tells_of_a_next_page() {
        let page = Page::from_rows(vec![1, 2, 3], 2, |n| *n, |n| n);
        assert_eq!(page.items, [1, 2]);
        assert!(page.next_cursor.is_some());
        assert!(
            Page::from_rows(vec![1, 2], 2, |n| *n, |n| n)
                .next_cursor
                .is_none()
        );
    }
}
