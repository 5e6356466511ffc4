use image::{ColorType, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder};
use proptest::prelude::*;

use super::*;

const MAX_PIXELS: u64 = 1_000_000;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).expect("encoded");
    out.into_inner()
}

fn red(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([255, 0, 0]))
}

/// What was made of it, decoded: the sizes from small to large.
fn shrunk(upload: &[u8]) -> Result<(MediaType, Vec<DynamicImage>), PictureError> {
    let Picture { media_type, sizes } = shrink(upload, MAX_PIXELS)?;
    assert_eq!(sizes.each_ref().map(|(size, _)| *size), AvatarSize::ALL);
    let format = match media_type {
        MediaType::Jpeg => ImageFormat::Jpeg,
        MediaType::Png => ImageFormat::Png,
    };
    let images = sizes.map(|(size, bytes)| {
        assert!(bytes.len() < crate::blobs::MAX_BYTES);
        assert_eq!(image::guess_format(&bytes).expect("a picture"), format);
        let image = image::load_from_memory_with_format(&bytes, format).expect("whole");
        assert!(image.width() <= size.pixels() && image.height() <= size.pixels());
        image
    });
    Ok((media_type, images.into()))
}

#[track_caller]
fn assert_near(image: &DynamicImage, (x, y): (u32, u32), colour: [u8; 3]) {
    let pixel = image.to_rgb8().get_pixel(x, y).0;
    let near = pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40);
    assert!(near, "{pixel:?} is not about {colour:?}");
}

#[test]
fn every_format_comes_out_small_in_its_proportions() {
    for format in FORMATS {
        let upload = encoded(red(800, 400), format);
        let (media_type, images) = shrunk(&upload).unwrap();
        assert_eq!(media_type, MediaType::Jpeg, "{format:?}");
        assert_eq!((images[0].width(), images[0].height()), (96, 48));
        assert_eq!((images[1].width(), images[1].height()), (512, 256));
        assert_near(&images[1], (300, 100), [255, 0, 0]);
    }
}

#[test]
fn small_and_narrow_ones_stay_what_they_are() {
    for (upload, small, large) in [
        (red(1, 1), (1, 1), (1, 1)),
        (red(100, 20), (96, 19), (100, 20)),
        (red(100_000, 1), (96, 1), (512, 1)),
    ] {
        let (_, images) = shrunk(&encoded(upload, ImageFormat::Png)).unwrap();
        assert_eq!((images[0].width(), images[0].height()), small);
        assert_eq!((images[1].width(), images[1].height()), large);
    }
}

#[test]
fn transparency_is_kept_where_there_is_any() {
    let opaque = RgbaImage::from_pixel(10, 10, Rgba([255, 0, 0, 255]));
    let (media_type, _) = shrunk(&encoded(opaque.clone(), ImageFormat::Png)).unwrap();
    assert_eq!(media_type, MediaType::Jpeg);
    let mut glass = opaque;
    glass.put_pixel(5, 5, Rgba([0, 0, 0, 0]));
    let (media_type, images) = shrunk(&encoded(glass, ImageFormat::Png)).unwrap();
    assert_eq!(media_type, MediaType::Png);
    assert_eq!(images[1].to_rgba8().get_pixel(5, 5).0[3], 0);
}

#[test]
fn deep_and_printed_colours_come_out_plain() {
    let deep = DynamicImage::from(red(20, 20)).to_rgb16();
    let (_, images) = shrunk(&encoded(deep, ImageFormat::Png)).unwrap();
    assert_near(&images[1], (10, 10), [255, 0, 0]);
    let grey = DynamicImage::from(red(20, 20)).to_luma8();
    assert_eq!(
        shrunk(&encoded(grey, ImageFormat::Jpeg)).unwrap().1[1].color(),
        ColorType::Rgb8
    );
    // Magenta and yellow, which are red.
    let (media_type, images) = shrunk(include_bytes!("../../tests/pictures/cmyk.jpg")).unwrap();
    assert_eq!(media_type, MediaType::Jpeg);
    assert_near(&images[1], (4, 4), [255, 0, 0]);
}

#[test]
fn of_what_moves_the_first_frame_is_taken() {
    let mut gif = Vec::new();
    let frames = [[255, 0, 0, 255], [0, 0, 255, 255]];
    let frames = frames.map(|colour| image::Frame::new(RgbaImage::from_pixel(6, 4, Rgba(colour))));
    GifEncoder::new(&mut gif).encode_frames(frames).unwrap();
    for upload in [
        &gif[..],
        include_bytes!("../../tests/pictures/moving.png"),
        include_bytes!("../../tests/pictures/moving.webp"),
    ] {
        let (_, images) = shrunk(upload).unwrap();
        assert_eq!((images[1].width(), images[1].height()), (6, 4));
        assert_near(&images[1], (3, 2), [255, 0, 0]);
    }
}

/// A JPEG with an APP1 segment after its first marker: EXIF that says how to turn the picture, and where it
/// was taken.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    exif.extend(b"GPS 48.2082 16.3738");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn cameras_notes_are_followed_and_gone() {
    // Red on the left, blue on the right; a quarter clockwise, red is above.
    let mut picture = red(40, 20);
    for (x, _, pixel) in picture.enumerate_pixels_mut() {
        if x >= 20 {
            *pixel = Rgb([0, 0, 255]);
        }
    }
    let upload = with_exif(&encoded(picture, ImageFormat::Jpeg), 6);
    let Picture { sizes, .. } = shrink(&upload, MAX_PIXELS).unwrap();
    for (_, bytes) in &sizes {
        assert!(!bytes.windows(3).any(|b| b == b"GPS") && !bytes.windows(4).any(|b| b == b"Exif"));
    }
    let (_, images) = shrunk(&upload).unwrap();
    assert_eq!((images[1].width(), images[1].height()), (20, 40));
    assert_near(&images[1], (10, 5), [255, 0, 0]);
    assert_near(&images[1], (10, 35), [0, 0, 255]);
}

/// A chunk of a PNG, with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let mut crc = u32::MAX;
    for byte in &named {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length[..], &named, &(!crc).to_be_bytes()].concat()
}

#[test]
fn what_hides_in_a_picture_is_gone() {
    const SCRIPT: &[u8] = b"<html><script>alert(1)</script>";
    let png = encoded(red(4, 4), ImageFormat::Png);
    // After the signature and the header: 8 and 25 bytes.
    let (head, rest) = png.split_at(33);
    let comment = chunk(b"tEXt", &[b"Comment\0", SCRIPT].concat());
    let polyglot = [head, &comment, rest, SCRIPT].concat();
    let Picture { sizes, .. } = shrink(&polyglot, MAX_PIXELS).unwrap();
    for (_, bytes) in sizes {
        assert!(!bytes.windows(7).any(|b| b == b"<script"));
    }
}

#[test]
fn too_many_pixels_are_refused_by_the_header_alone() {
    let header = |width: u32, height: u32, bits: u8| {
        let mut data = [width.to_be_bytes(), height.to_be_bytes()].concat();
        data.extend([bits, 6, 0, 0, 0]);
        let signature = b"\x89PNG\r\n\x1a\n";
        [&signature[..], &chunk(b"IHDR", &data), &chunk(b"IDAT", &[])].concat()
    };
    let mut gif = b"GIF89a".to_vec();
    gif.extend([0x60, 0xEA, 0x60, 0xEA, 0, 0, 0]);
    gif.extend([0x2C, 0, 0, 0, 0, 0x60, 0xEA, 0x60, 0xEA, 0, 2, 0, 0x3B]);
    let mut jpeg = encoded(red(8, 8), ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|b| b == [0xFF, 0xC0]).unwrap();
    jpeg[at + 5..at + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    let mut webp = encoded(red(8, 8), ImageFormat::WebP);
    let at = webp.windows(4).position(|b| b == b"VP8L").unwrap() + 9;
    webp[at..at + 4].copy_from_slice(&[0xFE, 0xBF, 0xFF, 0x0F]);
    for (what, bomb) in [
        ("png", header(60_000, 60_000, 8)),
        ("the largest png", header(u32::MAX / 2, u32::MAX / 2, 8)),
        ("one line too many", header(1_000, 1_001, 8)),
        // As many pixels as may be, of twice the bytes.
        ("a deep png", header(1_000, 1_000, 16)),
        ("gif", gif),
        ("jpeg", jpeg),
        ("webp", webp),
    ] {
        let refused = shrink(&bomb, MAX_PIXELS).unwrap_err();
        assert!(
            matches!(refused, PictureError::TooManyPixels),
            "{what}: {refused:?}"
        );
    }
    let empty = shrink(&header(0, 10, 8), MAX_PIXELS).unwrap_err();
    assert!(matches!(empty, PictureError::Unreadable), "{empty:?}");
}

#[test]
fn what_is_no_picture_is_refused_by_its_first_bytes() {
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    for upload in [
        &b""[..],
        b"x",
        svg,
        b"<?xml version=\"1.0\"?><svg/>",
        b"BM\0\0\0\0",
        b"%PDF-1.7",
        b"\0\0\0\x20ftypavif",
    ] {
        let refused = shrink(upload, MAX_PIXELS).unwrap_err();
        assert!(
            matches!(refused, PictureError::UnknownFormat),
            "{upload:?}: {refused:?}"
        );
    }
}

#[test]
fn half_a_picture_is_none() {
    // Noise, which does not compress: half of the bytes are half of the picture.
    let noise = RgbImage::from_fn(64, 64, |x, y| {
        let n = x
            .wrapping_mul(2_654_435_761)
            .wrapping_add(y.wrapping_mul(40_503))
            ^ (x * y);
        Rgb([n as u8, (n >> 8) as u8, (n >> 16) as u8])
    });
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let whole = encoded(noise.clone(), format);
        assert!(shrink(&whole, MAX_PIXELS).is_ok());
        for bytes in [whole.len() / 2, 40, 16] {
            let refused = shrink(&whole[..bytes], MAX_PIXELS);
            assert!(
                matches!(refused, Err(PictureError::Unreadable)),
                "{format:?} {bytes}: {refused:?}"
            );
        }
    }
    let jpeg = encoded(noise, ImageFormat::Jpeg);
    assert!(matches!(
        shrink(&jpeg[..100], MAX_PIXELS),
        Err(PictureError::Unreadable)
    ));
}

#[tokio::test]
async fn only_so_many_wait() {
    let pictures = Pictures::new(MAX_PIXELS, 1);
    let upload = Bytes::from(encoded(red(4, 4), ImageFormat::Png));
    // The one that runs is held up, so that all others wait.
    let running = Arc::clone(&pictures.running).acquire_owned().await.unwrap();
    let all = futures_of(&pictures, &upload, MAX_WAITING + 3);
    let release = async {
        tokio::task::yield_now().await;
        drop(running);
    };
    let (outcomes, ()) = tokio::join!(all, release);
    let busy = outcomes
        .iter()
        .filter(|o| matches!(o, Err(PictureError::Busy)))
        .count();
    assert_eq!((outcomes.len(), busy), (MAX_WAITING + 3, 2));
    assert!(pictures.shrink(upload).await.is_ok());
}

async fn futures_of(
    pictures: &Pictures,
    upload: &Bytes,
    count: usize,
) -> Vec<Result<Picture, PictureError>> {
    futures::future::join_all((0..count).map(|_| pictures.shrink(upload.clone()))).await
}

proptest! {
    /// Whatever is done to a picture, it is a picture or refused, within its bounds.
    #[test]
    fn broken_pictures_break_nothing(
        format in prop::sample::select(&FORMATS[..]),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut upload = encoded(red(16, 12), format);
        let at = at.index(upload.len());
        for (old, new) in upload[at..].iter_mut().zip(bytes) {
            *old = new;
        }
        upload.truncate(upload.len() - cut.index(upload.len()) / 2);
        if let Ok(picture) = shrink(&upload, MAX_PIXELS) {
            prop_assert!(picture.sizes.iter().all(|(_, bytes)| bytes.len() < crate::blobs::MAX_BYTES));
        }
    }
}
