"""What AWS accepts for a single value; each rule raises ValueError with what is allowed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from infra.network.subnets import LARGEST_PREFIX, SMALLEST_PREFIX

LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""CloudWatch Logs API Reference, PutRetentionPolicy."""

PYTHON_VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
PRIVATE_NETWORKS: Final = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
OWN_TAGS: Final = ("Name", "Project", "Environment", "Pool", "CreatedBy")
"""Set by us or, the last, by Image Builder, whose resources our roles know by it."""
MAX_TAGS: Final = 40
"""Of AWS's 50 a resource: the rest is for the stack's own tags and those of AWS services."""

_DAY_NAMES: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTH_NAMES),
    ("day of the week", 1, 7, _DAY_NAMES),
    ("year", 1970, 2199, ()),
)
_TAG_KEY: Final = re.compile(r"[A-Za-z0-9+\-=._:/]{1,128}")
"""The characters that every service allows; EC2 Image Builder knows neither spaces nor accents in a key."""
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}")
_ARM64_TYPE: Final = re.compile(r"(?:a1|[a-z]+\d+(?:[a-z]*g[a-z]*|e-gb\d+))\.[a-z0-9-]+")
"""The letter g behind the generation (EC2, Instance type naming conventions), and the Grace hosts of p6e."""
_ENVIRONMENT: Final = re.compile(r"[a-z](?:-?[a-z0-9])*")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
_IMAGE: Final = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})|(?:/[A-Za-z0-9_.-]+){2,15}")


def environment(value: str) -> str:
    """A part of names: lower case, at most 16."""
    if len(value) > 16 or not _ENVIRONMENT.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be part of names; allowed: 1 to 16 of a-z 0-9 -, a letter first, - only inside"
        )
    return value


def cidr(value: str) -> str:
    """A private IPv4 network that can be cut into subnets (Amazon VPC User Guide, VPC CIDR blocks)."""
    allowed = f"allowed: a /{LARGEST_PREFIX} to /{SMALLEST_PREFIX} of {', '.join(map(str, PRIVATE_NETWORKS))}"
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 network such as 10.42.0.0/16; {allowed}") from None
    prefix = network.prefixlen
    if "/" not in value or not value.rpartition("/")[2].isdecimal():
        raise ValueError(f"{value!r} lacks its prefix length; {allowed}")
    if prefix < LARGEST_PREFIX:
        raise ValueError(f"/{prefix} is larger than a VPC can be; {allowed}")
    if prefix > SMALLEST_PREFIX:
        raise ValueError(f"/{prefix} is too small for a public and a private subnet in each of six zones; {allowed}")
    if str(network) != value:
        raise ValueError(f"{value!r} has host bits set; write {network}; {allowed}")
    if not any(network.subnet_of(block) for block in PRIVATE_NETWORKS):
        raise ValueError(f"{value} is not a private network; {allowed}")
    return value


def type_names(names: Sequence[str]) -> Sequence[str]:
    """What may be the names of x86_64 instance types, each once; the rest is EC2's to say (`instance_types.check`)."""
    wrong = [f"{name!r} {reason}" for name in names if (reason := _why_no_type(name))]
    if len(set(names)) != len(names):
        wrong.append("a type is named twice")
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}; allowed: x86_64 types such as g6.xlarge or c7i.xlarge, each once")
    return names


def _why_no_type(name: str) -> str:
    if not _TYPE.fullmatch(name):
        return "is not the name of an instance type"
    return "is arm64, and the parent image is x86_64" if _ARM64_TYPE.fullmatch(name) else ""


def image(value: str) -> str:
    """An image id or the name of an SSM parameter that holds one, as far as a name tells not of another system."""
    allowed = "allowed: an id such as ami-0123456789abcdef0, or an SSM parameter such as /aws/... that holds one"
    if not _IMAGE.fullmatch(value):
        raise ValueError(f"{value!r} names no image; {allowed}")
    if foreign := next((word for word in ("arm64", "ubuntu", "windows") if word in value.lower()), ""):
        raise ValueError(f"{value!r} is of {foreign}; {allowed}, of x86_64 and Amazon Linux 2023")
    return value


def python_versions(value: tuple[str, ...]) -> tuple[str, ...]:
    """Versions of Python that the trainer runs on, each once; comes back sorted."""
    allowed = f"allowed: {', '.join(PYTHON_VERSIONS)}, each once"
    for version in value:
        if version not in PYTHON_VERSIONS:
            raise ValueError(f"{version!r} is not a version of Python for the trainer; {allowed}")
    if len(set(value)) != len(value):
        raise ValueError(f"a version is named twice; {allowed}")
    return tuple(sorted(value))


def schedule(value: str) -> str:
    """Image Builder's cron (EC2 Image Builder User Guide, Use cron expressions in Image Builder), or empty."""
    allowed = (
        "allowed: cron(<minute> <hour> <day of the month> <month> <day of the week> <year>) in UTC, "
        "one of both days a ?, such as cron(0 6 ? * sun *), or an empty text"
    )
    if not value:
        return value
    if not (value.startswith("cron(") and value.endswith(")")) or len(value) > 1024:
        raise ValueError(f"{value!r} is not a cron expression; {allowed}")
    fields = value[5:-1].split(" ")
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(f"{value!r} has {len(fields)} fields, not six; {allowed}")
    for text, (name, low, high, names) in zip(fields, _CRON_FIELDS, strict=True):
        if not _is_cron_field(text, name, low, high, names):
            raise ValueError(f"{text!r} is no {name} ({low} to {high}); {allowed}")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError(f"exactly one of the day of the month and the day of the week must be ?; {allowed}")
    return value


def _is_cron_field(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    day = name.startswith("day")
    if text == "?" or (text == "L" and day):
        return day

    def number(word: str) -> int | None:
        if word in names:
            return names.index(word) + 1
        return int(word) if re.fullmatch(r"[0-9]{1,4}", word) and low <= int(word) <= high else None

    def part(word: str) -> bool:
        word, slash, step = word.partition("/")
        if slash and not (re.fullmatch(r"[0-9]{1,4}", step) and int(step) > 0):
            return False
        if name == "day of the month" and word.endswith("W"):
            return not slash and number(word[:-1]) is not None
        if name == "day of the week" and (found := re.fullmatch(r"(\w+)(?:#[1-5]|L)", word, re.ASCII)):
            return not slash and number(found[1]) is not None
        first, dash, last = word.partition("-")
        if word == "*":
            return True
        start, end = number(first), number(last) if dash else number(first)
        return start is not None and end is not None and start <= end

    return all(part(word) for word in text.split(","))


def folder(value: str) -> str:
    """A path that a file system can hold; whether it exists is seen when it is read."""
    if not value.isprintable() or len(value) > 4096:
        raise ValueError("cannot be a folder; allowed: a path of at most 4096 printable characters")
    return value


def log_days(value: int) -> int:
    """Days that CloudWatch Logs can keep a log."""
    if value not in LOG_RETENTION_DAYS:
        raise ValueError(
            f"{value} is not a retention of CloudWatch; allowed: {', '.join(map(str, LOG_RETENTION_DAYS))}"
        )
    return value


def email(value: str) -> str:
    """A mail address that AWS Budgets and SNS take."""
    if len(value) > 254 or not _EMAIL.fullmatch(value):
        raise ValueError(f"{value!r} is not a mail address; allowed: name@example.com")
    return value


def tag_key(value: str) -> str:
    """A key that every taggable service takes and that is not one of ours."""
    if value.lower().startswith("aws:"):
        raise ValueError("begins with aws:, which AWS keeps for itself; allowed: another beginning")
    if value.lower() in {own.lower() for own in OWN_TAGS}:
        raise ValueError(f"is set by the stack itself; allowed: any but {', '.join(OWN_TAGS)}")
    if not _TAG_KEY.fullmatch(value):
        raise ValueError("cannot be a tag's key; allowed: 1 to 128 of A-Z a-z 0-9 + - = . _ : /")
    return value


def tag_value(value: str) -> str:
    """Text of at most 256 letters, digits, spaces and + - = . _ : / @ (AWS General Reference, Tagging)."""
    strange = [sign for sign in value if sign not in " +-=._:/@" and unicodedata.category(sign)[0] not in "LN"]
    if strange or len(value) > 256:
        raise ValueError("cannot be a tag's value; allowed: up to 256 letters, digits, spaces and + - = . _ : / @")
    return value


def tags(value: dict[str, str]) -> dict[str, str]:
    """A set of tags that one resource can bear; IAM takes keys that differ only in case for one."""
    if len(value) > MAX_TAGS:
        raise ValueError(f"{len(value)} tags are too many; allowed: up to {MAX_TAGS}")
    seen: dict[str, str] = {}
    for key in value:
        if (other := seen.setdefault(key.lower(), key)) != key:
            raise ValueError(f"{other!r} and {key!r} differ only in case; allowed: one of them")
    return value
