use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The picture that a profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avatar {
    pub(crate) id: Uuid,
    /// Random; who knows it may see the picture.
    pub(crate) version: Uuid,
}

/// The square that a picture fits into, as clients ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub(crate) enum AvatarSize {
    /// For lists.
    #[serde(rename = "96")]
    Small,
    /// For pages.
    #[default]
    #[serde(rename = "512")]
    Large,
}

impl AvatarSize {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// The length of a side.
    pub(crate) fn pixels(self) -> u32 {
        match self {
            Self::Small => 96,
            Self::Large => 512,
        }
    }
}

/// What pictures are kept as, whatever they were uploaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Jpeg,
    /// Where something is transparent.
    Png,
}

impl MediaType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}
