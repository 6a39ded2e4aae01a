# SPDX-License-Identifier: Apache-2.0
"""English names of the languages of corpora and translators."""

LANGUAGES = {
    "am": "Amharic", "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "kn": "Kannada", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Mandarin", "zxx": "no language",
}  # fmt: skip


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 code; an unknown code is returned unchanged."""
    return LANGUAGES.get(code, code)
