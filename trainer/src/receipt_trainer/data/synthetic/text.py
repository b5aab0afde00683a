"""Names on synthetic receipts, put together from pools or coined."""

from __future__ import annotations

from random import Random
from typing import Final

from receipt_trainer.data.synthetic.locales import Locale

_ONSETS: Final = "b|br|c|ch|d|dr|f|g|gl|h|j|k|kr|l|m|n|p|pr|r|s|sh|st|t|tr|v|w|y|z"
_VOWELS: Final = "a|e|i|o|u|ai|ea|oo"
_CODAS: Final = "|||n|r|l|s|m|ck|nd|rt|x|ng|lle"
_GIVEN: Final = "Maria|John|Wei|Anna|Ravi|Siti|Omar|Grace|Peter|Lena|Ahmad|Chloé|Budi|Kim"
_CAPITALS: Final = "ABCEFGHJKLMNPRSTVWY"

_MERCHANTS: Final = {
    "grocery": "{c} Market|{c} Supermarket|{c}'s Fresh Foods|{c} Mart|{c} Minimarket|{c} & {d} Grocers|Fresh {c}",
    "restaurant": (
        "{c} Kitchen|Restaurant {c}|{c} Cafe|{c}'s Grill & Bar|Kedai Makan {c}|The {c} House|{c} Bistro|"
        "Warung {c}|{c} {d} Noodle Bar|Pizzeria {c}|{c}"
    ),
    "pharmacy": "{c} Pharmacy|{c} Drug Store|Farmasi {c}|{c} Apotheke|{c} Health & Beauty|Guardia {c}",
    "petrol": "{c} Petroleum|{c} Fuel Stop|{c} Service Station|{c} Oil {d}|{c} Energy",
    "hardware": "{c} Hardware|{c} Tools & Supply|{c} DIY|{c} Trading|{c} Electrical & Hardware|{c} {d} Paints",
}
_LEGAL_FORMS: Final = {
    "de": "GmbH|e.K.|OHG",
    "fr": "SARL|SAS",
    "id": "PT|CV",
    "en": "Ltd|Sdn Bhd|SDN. BHD.|Pte Ltd|LLC|Inc.|Co.|Enterprise",
}
_MODIFIERS: Final = {
    "grocery": "Organic|Fresh|Whole|Low Fat|Smoked|Frozen|Sliced|Salted|Wild|Baby|Red|Green",
    "restaurant": "Grilled|Fried|Spicy|Iced|Hot|House|Garlic|Crispy|Steamed|Double|Black Pepper",
    "pharmacy": "Extra|Kids|Sensitive|Daily|Max|Night|Herbal|Mint",
    "petrol": "Super|Premium|Ultra|Euro5",
    "hardware": "Steel|Brass|Heavy Duty|PVC|Wood|Galv.|LED|Cordless|White",
}
_NOUNS: Final = {
    "grocery": (
        "Milk|Bread|Apples|Bananas|Eggs|Cheddar|Yoghurt|Chicken Breast|Rice|Pasta|Coffee|Green Tea|Tomatoes|"
        "Onions|Salmon|Butter|Orange Juice|Crackers|Tofu|Cat Food|Flour|Dish Soap|Potatoes|Ham|Honey|Cereal|"
        "Sausages|Water|Sugar|Olive Oil|Tuna|Chips"
    ),
    "restaurant": (
        "Chicken|Burger|Fried Rice|Noodles|Teh Tarik|Latte|Cola|Beef Rendang|Salad|Fish & Chips|Soup|Dumplings|"
        "Margherita|Tacos|Pancakes|Lemonade|Nasi Lemak|Curry|Espresso|Brownie|Satay|Spring Rolls|Mineral Water|"
        "Pinot Noir|Prawns|Tofu|Steak|Lamb Chop|Ice Cream"
    ),
    "pharmacy": (
        "Ibuprofen|Vitamin C|Cough Syrup|Plasters|Toothpaste|Shampoo|Sun Cream|Eye Drops|Face Mask|Hand Gel|"
        "Nasal Spray|Lip Balm|Antacid|Cotton Pads|Thermometer|Zinc Tabs|Lotion"
    ),
    "petrol": "Unleaded 95|Diesel|Unleaded 98|E10|RON95|RON 97",
    "hardware": (
        "Screws|Hammer|Paint|Pipe|Drill Bit|Extension Cord|Padlock|Silicone|Sandpaper|Hinge|Light Bulb|Nails|"
        "Brush|Bolt & Nut|Cement|Tape|Saw Blade|Switch|Glue|Bucket"
    ),
}
_SIZES: Final = {
    "grocery": "1L|500g|2kg|6pk|250 ml|x12||",
    "restaurant": "(L)|(S)|Set A|Set B|||",
    "pharmacy": "200mg|20s|100 ml|30pc|",
    "petrol": "",
    "hardware": '10mm|1/2"|5L|M6x20|3m|60W|',
}
KINDS: Final = tuple(_NOUNS)


def pick(rng: Random, pool: str) -> str:
    """One of the alternatives that stand between `|`; an empty one counts."""
    return rng.choice(pool.split("|"))


def digits(rng: Random, pattern: str) -> str:
    """`pattern` with each `#` a random digit and each `?` a random capital letter."""
    return "".join(
        str(rng.randrange(10)) if char == "#" else rng.choice(_CAPITALS) if char == "?" else char for char in pattern
    )


def code(rng: Random, patterns: str) -> str:
    """One of several patterns, filled by `digits`."""
    return digits(rng, pick(rng, patterns))


def coined(rng: Random) -> str:
    """A name that nobody has: two or three syllables."""
    syllables = [pick(rng, _ONSETS) + pick(rng, _VOWELS) for _ in range(rng.choice((2, 3, 3)))]
    return ("".join(syllables) + pick(rng, _CODAS)).capitalize()


def person(rng: Random) -> str:
    """A cashier's name."""
    return pick(rng, _GIVEN) if rng.random() < 0.6 else coined(rng)


def merchant(rng: Random, kind: str, language: str) -> str:
    """A shop's name; some are single coined words, some carry a legal form."""
    name = pick(rng, _MERCHANTS[kind]).format(c=coined(rng), d=coined(rng))
    if rng.random() < 0.3:
        legal = pick(rng, _LEGAL_FORMS.get(language, _LEGAL_FORMS["en"]))
        name = f"{legal} {name}" if language == "id" else f"{name} {legal}"
    return name


def address(rng: Random, locale: Locale) -> tuple[str, str]:
    """Street and town; every second town is coined."""
    street = pick(rng, locale.streets).format(n=rng.randrange(1, 400), m=rng.randrange(1, 9), name=coined(rng))
    city = pick(rng, locale.cities) if rng.random() < 0.5 else coined(rng)
    return street, digits(rng, pick(rng, locale.regions)).format(city=city)


def product(rng: Random, kind: str) -> str:
    """A product's name: noun, often with a coined brand, a modifier, a size."""
    parts = [pick(rng, _NOUNS[kind])]
    if rng.random() < 0.5:
        parts.insert(0, pick(rng, _MODIFIERS[kind]))
    if rng.random() < (0.15 if kind == "restaurant" else 0.35):
        parts.insert(0, coined(rng))
    if rng.random() < 0.6:
        parts.append(pick(rng, _SIZES[kind]))
    return " ".join(part for part in parts if part)
