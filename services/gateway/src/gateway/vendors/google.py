"""Google's table."""

from typing import Final

from gateway.vendors.vendor import Vendor

GOOGLE: Final = Vendor(
    images=(("gemini-1*", 9 * 258), ("gemini-2*", 9 * 258), ("gemini-*", 2_240)),
    audio_bytes=15,
    tool_prompt=512,
)
"""Sources: "Understand and count tokens" and "Media resolution" of the Gemini API (258 a tile; at the highest
resolution a tile for the whole and up to about 2,048 for its parts; from Gemini 3 on at most 2,240 an image; 32 a
second of sound, which is at least 31 bytes of an MP3 each, and half of that is held for). A film, whose length its
bytes do not tell, and a PDF, whose pages they do not, may take what is left of the window."""
