"""The voices of Kokoro, an open model that many servers use.

Source: VOICES.md of hexgrad/Kokoro-82M v1.0, 54 voices. An id's first letter is its language, the second its gender.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proxy.providers.voices import Voice, Voices

_IDS: Final = """
af_heart af_alloy af_aoede af_bella af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky am_adam am_echo
am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable
bm_george bm_lewis ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola jf_alpha
jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi
zm_yunjian zm_yunxi zm_yunxia zm_yunyang
"""
_LANGUAGES: Final = {
    "a": "en-US", "b": "en-GB", "e": "es", "f": "fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-BR", "z": "zh",
}  # fmt: skip
_GENDERS: Final = {"f": "female", "m": "male"}
_OPENAI: Final[Mapping[str, str]] = {
    "alloy": "af_alloy",
    "ash": "am_michael",
    "ballad": "bm_george",
    "cedar": "am_fenrir",
    "coral": "af_heart",
    "echo": "am_echo",
    "fable": "bm_fable",
    "marin": "af_bella",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_sarah",
    "shimmer": "af_sky",
    "verse": "am_puck",
}
#: ``af_bella(2)+af_sky(1)``: a blend of several voices.
_ONE: Final = r"[a-z]{2}_\w{1,32}(\(\d{1,3}(\.\d{1,3})?\))?"
_BLEND: Final = re.compile(rf"{_ONE}([+-]{_ONE}){{0,7}}")

CATALOGUE: Final = tuple(Voice(id, id[3:].capitalize(), _LANGUAGES[id[0]], _GENDERS[id[1]]) for id in _IDS.split())
VOICES: Final = Voices(catalogue=CATALOGUE, openai=_OPENAI, pattern=_BLEND)
