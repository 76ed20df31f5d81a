"""Whose an image is goes along into the files made of it; where it was taken and by which camera does not."""

from io import BytesIO
from typing import Any

import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from configs.documents.notes import Notes
from storage.images.credits import MOST
from storage.images.images import FORMATS, ImageFormat, decode, encode
from storage.images.png_recipe import ImageRecipe, Provenance

NOTES = Notes("© Ann Émile", "Ann Émile", "Fox & hound", "狐", dpi=(300.0, 300.0))
LOADED = ImageRecipe((Provenance("load", 2, {}, {}, ("e" * 64,), "f" * 64),))


def notes_of(data: bytes) -> Notes:
    return Notes.of(decode(data, max_pixels=10_000))


def encoded(notes: Notes, format: ImageFormat, recipe: ImageRecipe = LOADED) -> bytes:
    image = Image.new("RGB", (8, 8))
    notes.put_on(image)
    return encode(image, format=format, quality=90, lossless=format != "jpeg", recipe=recipe).data


def photo(**options: Any) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "© Ann Émile".encode()
    exif[ExifTags.Base.Artist] = b"Ann"
    exif[ExifTags.Base.ImageDescription] = b"A fox"
    exif[ExifTags.Base.Make] = b"Secret camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "12345"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 0.0)
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif, dpi=(300, 300), **options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_credits_and_resolution_are_kept_in_every_format(format: ImageFormat) -> None:
    assert notes_of(encoded(NOTES, format)) == NOTES


@pytest.mark.parametrize("format", FORMATS)
def test_other_programs_find_the_credits(format: ImageFormat) -> None:
    with Image.open(BytesIO(encoded(NOTES, format))) as image:
        if format == "png":
            assert (image.info["Copyright"], image.info["Author"]) == ("© Ann Émile", "Ann Émile")
        else:
            assert image.getexif()[ExifTags.Base.Copyright].encode("latin-1").decode() == "© Ann Émile"
        packet = image.info["xmp"]
        assert b"<dc:title>" in (packet.encode() if isinstance(packet, str) else packet)
        if format in ("png", "jpeg"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_a_photos_place_and_camera_are_left_behind() -> None:
    notes = notes_of(photo())
    assert notes == Notes("© Ann Émile", "Ann", "", "A fox", dpi=(300.0, 300.0))
    for format in FORMATS:
        data = encoded(notes, format)
        assert b"Secret" not in data
        with Image.open(BytesIO(data)) as image:
            assert not image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
            assert ExifTags.Base.BodySerialNumber not in image.getexif().get_ifd(ExifTags.IFD.Exif)


def test_a_title_comes_from_xmp_and_from_pngs_texts() -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>'
        '<rdf:li xml:lang="x-default">Fox</rdf:li></rdf:Alt></dc:title>'
        "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", xmp=xmp.encode())
    assert notes_of(file.getvalue()) == Notes(artist="Ann, Bo", title="Fox")
    texts = PngInfo()
    texts.add_text("Title", "Fox")
    texts.add_text("Author", "Ann")
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    assert notes_of(file.getvalue()) == Notes(artist="Ann", title="Fox")


@pytest.mark.parametrize(
    "xmp",
    [
        b"<dc/dc/",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x xmlns:dc="http://purl.org/dc/elements/1.1/">&a;</x>',
        b"\xff\xfe/dc/",
    ],
)
def test_hostile_metadata_costs_no_image(xmp: bytes) -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", xmp=xmp)
    assert notes_of(file.getvalue()) == Notes()


def test_texts_are_cut_and_hold_no_control_characters() -> None:
    texts = PngInfo()
    texts.add_text("Copyright", "a\x1b[31m" + "b" * 10_000)
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    kept = notes_of(file.getvalue()).copyright
    assert len(kept) == MOST
    assert kept.isprintable()


@pytest.mark.parametrize("dpi", [(72, 72), (0, 0), (1e9, 1e9)])
def test_a_resolution_that_says_nothing_is_not_kept(dpi: tuple[float, float]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", exif=exif)
    assert notes_of(file.getvalue()).dpi is None


def test_other_frames_are_noted() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        for count in (1, 2):
            file = BytesIO()
            frames[0].save(file, format, save_all=True, append_images=frames[1:count])
            assert notes_of(file.getvalue()).more_frames == (count == 2), format


def test_the_views_in_a_phones_photo_are_no_frames() -> None:
    views = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    file = BytesIO()
    views[0].save(file, "MPO", save_all=True, append_images=views[1:])
    assert not notes_of(file.getvalue()).more_frames
