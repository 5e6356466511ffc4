//! Making pictures small, and safe to hand on: decoded and drawn anew, so that nothing of what was uploaded
//! is left but what is to be seen. Where it was taken (EXIF), and what is hidden in its comments, is gone.

use std::{io::Cursor, sync::Arc};

use axum::body::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    metadata::Orientation,
};
use tokio::sync::Semaphore;

use crate::domain::{AvatarSize, MediaType};

/// What is taken, told by the first bytes and not by what the client calls it. SVG is not among them: it is
/// a document with scripts.
const FORMATS: [ImageFormat; 4] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Gif,
];

/// Beyond which more bytes make no better picture of a face.
const JPEG_QUALITY: u8 = 85;
/// Uploads that wait for their turn; each holds its bytes.
const MAX_WAITING: usize = 16;
/// What a decoder may take for itself beside the picture: tables, lines, a profile of colours.
const DECODER_BYTES: u64 = 16 << 20;

/// Why a picture is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("the picture is of a format that is not taken")]
    UnknownFormat,
    #[error("the picture has too many pixels")]
    TooManyPixels,
    #[error("the picture cannot be read")]
    Unreadable,
    #[error("too many pictures wait")]
    Busy,
}

/// A picture in the sizes that are kept.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) media_type: MediaType,
    pub(crate) sizes: [(AvatarSize, Bytes); 2],
}

/// Works on pictures off the async runtime, a bounded number at a time.
pub(crate) struct Pictures {
    max_pixels: u64,
    /// As many as may be worked on.
    running: Arc<Semaphore>,
    /// As many as may be worked on or wait for it.
    places: Semaphore,
}

impl Pictures {
    pub(crate) fn new(max_pixels: u64, concurrency: usize) -> Self {
        Self {
            max_pixels,
            running: Arc::new(Semaphore::new(concurrency)),
            places: Semaphore::new(concurrency + MAX_WAITING),
        }
    }

    pub(crate) async fn shrink(&self, upload: Bytes) -> Result<Picture, PictureError> {
        let _place = self.places.try_acquire().map_err(|_| PictureError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned();
        let running = running.await.expect("it is never closed");
        let max_pixels = self.max_pixels;
        let shrunk = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request, which may end before it.
            let _running = running;
            shrink(&upload, max_pixels)
        });
        // A decoder that panics has met what its author did not foresee.
        shrunk.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a picture made its decoder panic");
            Err(PictureError::Unreadable)
        })
    }
}

fn shrink(upload: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    let image = decode(upload, max_pixels)?;
    let has_alpha = image.color().has_alpha();
    // Kept with alpha only where something is to be seen through.
    let image = match has_alpha.then(|| image.to_rgba8()) {
        Some(rgba) if rgba.pixels().any(|pixel| pixel.0[3] < u8::MAX) => rgba.into(),
        _ => DynamicImage::from(image.into_rgb8()),
    };
    let media_type = match image {
        DynamicImage::ImageRgba8(_) => MediaType::Png,
        _ => MediaType::Jpeg,
    };
    let mut sizes = [AvatarSize::Small, AvatarSize::Large].map(|size| (size, Bytes::new()));
    for (size, bytes) in &mut sizes {
        let mut out = Vec::new();
        let image = fitted(&image, size.pixels());
        let encoded = match media_type {
            MediaType::Jpeg => {
                image.write_with_encoder(JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY))
            }
            MediaType::Png => image.write_with_encoder(PngEncoder::new(&mut out)),
        };
        encoded.map_err(|_| PictureError::Unreadable)?;
        *bytes = out.into();
    }
    Ok(Picture { media_type, sizes })
}

/// The picture, upright, in at most the largest size that is kept. Of a moving one, the first frame.
fn decode(upload: &[u8], max_pixels: u64) -> Result<DynamicImage, PictureError> {
    let format = image::guess_format(upload)
        .ok()
        .filter(|format| FORMATS.contains(format))
        .ok_or(PictureError::UnknownFormat)?;
    // Four bytes for a pixel: one of sixteen bits for each colour counts twice.
    let max_bytes = max_pixels * 4;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_bytes + DECODER_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(upload), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    // What the header says, before anything is decoded: a few bytes can stand for gigabytes.
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels || decoder.total_bytes() > max_bytes {
        return Err(PictureError::TooManyPixels);
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Unreadable);
    }
    // Cameras turn the note and not the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    let mut image = fitted(&image, AvatarSize::Large.pixels());
    image.apply_orientation(orientation);
    Ok(image)
}

fn refused(error: image::ImageError) -> PictureError {
    match error {
        image::ImageError::Limits(_) => PictureError::TooManyPixels,
        _ => PictureError::Unreadable,
    }
}

/// Within a square of so many pixels, in its proportions. A smaller one stays as it is.
fn fitted(image: &DynamicImage, side: u32) -> DynamicImage {
    if image.width() <= side && image.height() <= side {
        return image.clone();
    }
    image.thumbnail(side, side)
}

#[cfg(test)]
mod tests;
