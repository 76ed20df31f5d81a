"""Color profiles: the colors of an image in sRGB."""

from io import BytesIO

from PIL import Image, ImageCms

_GRAY = ("1", "L", "LA", "La")
_SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}  # of profiles -> modes of pixels


def to_srgb(image: Image.Image) -> Image.Image:
    """Return the image in sRGB by its embedded profile, mode RGB or RGBA; alpha stays.

    An image without one, or with one that does not fit its pixels, comes back as it is, as in viewers; so does one in
    a mode that only a profile gives a meaning, but LAB has one of its own.
    """
    data = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
        if not data:
            return image
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        space = _SPACES.get(profile.profile.xcolor_space.strip())
        if space == "L" and image.mode.startswith("I;16"):
            return _gray_of_16_bits(image, profile)
        if space is None or not _fits(image, space):
            return image
        if not image.has_transparency_data:
            return _converted(image.convert(space), profile)
        whole = image.convert("RGBA")
        color = _converted(whole.convert("RGB").convert(space), profile)
        color.putalpha(whole.getchannel("A"))
        return color
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _fits(image: Image.Image, space: str) -> bool:
    if space == "L":
        return image.mode in _GRAY
    if space == "CMYK":
        return image.mode == "CMYK"
    # Gray with a profile of colors: programs that save space leave it in when all colors are gray.
    return space == "RGB" and image.mode not in ("CMYK", "YCbCr", "HSV", "I", "F") and not image.mode.startswith("I;")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # only in place there is no result
    return converted


def _gray_of_16_bits(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Convert by the curve of 256 grays, with values between them: LittleCMS takes this mode in one byte order only."""
    import numpy as np  # not in every process that opens an image

    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    curve = np.asarray(_converted(ramp, profile), dtype=np.float64)[0]
    values = np.asarray(image, dtype=np.float64) / 257
    channels = [np.interp(values, np.arange(256), curve[:, channel]) for channel in range(3)]
    return Image.fromarray(np.rint(np.stack(channels, axis=-1)).astype(np.uint8))
