"""How receipts are written in nine countries, by habit and not by law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Locale:
    """How a country's receipts are written; texts are pools of alternatives with `|` between them.

    Attributes:
        symbols: currency marks before an amount, maybe none; `codes` stand behind it.
        decimals: digits of the minor unit; all amounts are integers in that unit.
        point, thousands: decimal sign and separator of thousands, maybe none.
        scale: what costs a dollar costs `scale` minor units here; prices and totals are multiples of `step`.
        taxes: (name, rates in basis points); `added_together` of them are on one receipt.
        tax_added, tax_included: whether taxes may come on top of the printed prices, or be in them.
        phones, regions: `#` stands for a digit, `?` for a capital letter; {n} and {m} in streets for house numbers.
        dates: %d %e %m %n %y %Y %b as in strftime, %e and %n being day and month without a leading zero.
    """

    symbols: str
    codes: str
    decimals: int
    point: str
    thousands: str
    scale: int
    step: int
    taxes: tuple[tuple[str, tuple[int, ...]], ...]
    tax_added: bool
    tax_included: bool
    phones: str
    cities: str
    regions: str
    streets: str
    dates: str
    language: str = "en"
    added_together: int = 1


LOCALES: Final = (
    Locale(
        symbols="$",
        codes="USD",
        decimals=2,
        point=".",
        thousands="|,",
        scale=100,
        step=1,
        taxes=(("Sales Tax", (400, 600, 725, 825, 888)), ("TAX", (500, 700, 950))),
        tax_added=True,
        tax_included=False,
        phones="(###) ###-####|###-###-####|###.###.####|1-###-###-####",
        cities="Springfield|Franklin|Clinton|Salem|Georgetown|Fairview|Madison|Arlington|Dover",
        regions="{city}, OH #####|{city}, TX #####|{city} CA #####-####|{city}, NY #####",
        streets=(
            "{n} {name} Street|{n} {name} St.|{n} {name} Ave|{n} {name} Road|{n} {name} Rd|{n} {name} Blvd|"
            "{n} N. {name} Hwy"
        ),
        dates="%m/%d/%Y|%m/%d/%y|%n/%e/%Y|%b %e, %Y|%m-%d-%Y|%Y-%m-%d",
    ),
    Locale(
        symbols="$",
        codes="CAD",
        decimals=2,
        point=".",
        thousands=",",
        scale=110,
        step=1,
        taxes=(("GST", (500,)), ("PST", (600, 700, 800)), ("HST", (1300, 1500))),
        tax_added=True,
        tax_included=False,
        phones="(###) ###-####|### ###-####",
        cities="Kelowna|Guelph|Moncton|Regina|Barrie|Sudbury",
        regions="{city}, ON ?#? #?#|{city} BC ?#?#?#",
        streets="{n} {name} Street|{n} {name} St.|{n} {name} Ave|{n} {name} Road|{n} {name} Rd|{n} {name} Blvd",
        dates="%Y/%m/%d|%d/%m/%Y|%b %d, %Y",
        added_together=2,
    ),
    Locale(
        symbols="£",
        codes="GBP",
        decimals=2,
        point=".",
        thousands=",",
        scale=80,
        step=1,
        taxes=(("VAT", (2000, 500)),),
        tax_added=False,
        tax_included=True,
        phones="0## #### ####|01### ######|+44 #### ######",
        cities="Leeds|Exeter|Norwich|Bath|Durham|Swansea|Perth|Lincoln|Hexham|Ripon",
        regions="{city} ??# #??|{city}, ??## #??",
        streets="{n} {name} Street|{n} {name} St.|{n} {name} Ave|{n} {name} Road|{n} {name} Rd|{n} {name} Blvd",
        dates="%d/%m/%Y|%d/%m/%y|%d %b %Y|%d-%m-%y",
    ),
    Locale(
        symbols="RM|RM|",
        codes="MYR",
        decimals=2,
        point=".",
        thousands=",|",
        scale=350,
        step=5,
        taxes=(("GST", (600,)), ("SST", (600, 1000))),
        tax_added=True,
        tax_included=True,
        phones="0#-#######|0#-#### ####|03-####-####|01#-### ####",
        cities="Johor Bahru|Shah Alam|Petaling Jaya|Ipoh|Klang|Melaka|Seremban|Kajang|Puchong",
        regions="##### {city}, Johor|##### {city}.|##### {city}, Selangor Darul Ehsan",
        streets=(
            "No. {n}, Jalan {name} {m}|No {n} & {m}, Jln {name}|Lot {n}, Jalan {name}, Taman {name}|{n}-G Jalan {name}"
        ),
        dates="%d/%m/%Y|%d-%m-%Y|%d/%m/%y|%e/%n/%Y|%d %b %Y|%Y-%m-%d",
    ),
    Locale(
        symbols="$|S$|",
        codes="SGD",
        decimals=2,
        point=".",
        thousands=",|",
        scale=140,
        step=5,
        taxes=(("GST", (700, 800, 900)),),
        tax_added=True,
        tax_included=True,
        phones="#### ####|+65 #### ####|6#######",
        cities="Singapore|SINGAPORE|S'pore",
        regions="{city} ######|{city} (######)",
        streets="{n} {name} Road #0{m}-{n}|Blk {n} {name} Ave {m}|{n} {name} Drive",
        dates="%d/%m/%Y|%d %b %y|%d-%b-%Y",
    ),
    Locale(
        symbols="|EUR",
        codes="€|EUR",
        decimals=2,
        point=",",
        thousands=".|",
        scale=90,
        step=1,
        taxes=(("MwSt", (700, 1900)), ("USt.", (700, 1900))),
        tax_added=False,
        tax_included=True,
        phones="0###/######|0## / #######|+49 ### ######|0#### - ####",
        cities="Kassel|Fulda|Celle|Ulm|Gotha|Aalen",
        regions="##### {city}",
        streets="{name}str. {n}|{name}straße {n}|Am {name}platz {m}|{name}weg {n}",
        dates="%d.%m.%Y|%d.%m.%y",
        language="de",
    ),
    Locale(
        symbols="|EUR",
        codes="€|EUR",
        decimals=2,
        point=",",
        thousands="",
        scale=95,
        step=1,
        taxes=(("TVA", (550, 1000, 2000)),),
        tax_added=False,
        tax_included=True,
        phones="0# ## ## ## ##|0#.##.##.##.##|+33 # ## ## ## ##",
        cities="Dijon|Nantes|Rennes|Angers|Nîmes|Metz",
        regions="##### {city}",
        streets="{n}, rue {name}|{n} avenue de {name}|{m} place {name}",
        dates="%d/%m/%Y|%d/%m/%y|%d-%m-%Y",
        language="fr",
    ),
    Locale(
        symbols="Rp|Rp.|",
        codes="IDR",
        decimals=0,
        point=",",
        thousands=",|.",
        scale=12000,
        step=500,
        taxes=(("PB1", (1000,)), ("PPN", (1100,)), ("Tax", (1000,))),
        tax_added=True,
        tax_included=False,
        phones="(02#) #######|08##-####-####|02# ### ####",
        cities="Bandung|Jakarta|Bogor|Medan|Malang",
        regions="{city} #####|{city} Selatan #####",
        streets="Jl. {name} No. {n}|Jl. {name} Raya {n}|Mall {name} Lt. {m}",
        dates="%d/%m/%Y|%d-%m-%y|%d %b %Y|%Y-%m-%d",
        language="id",
    ),
    Locale(
        symbols="$",
        codes="AUD",
        decimals=2,
        point=".",
        thousands=",",
        scale=130,
        step=5,
        taxes=(("GST", (1000,)),),
        tax_added=False,
        tax_included=True,
        phones="(0#) #### ####|0# #### ####|1300 ### ###|04## ### ###",
        cities="Bendigo|Cairns|Orange|Albury|Geelong",
        regions="{city} VIC ####|{city} NSW ####",
        streets="{n} {name} Street|{n} {name} St.|{n} {name} Ave|{n} {name} Road|{n} {name} Rd|{n} {name} Blvd",
        dates="%d/%m/%Y|%d/%m/%y|%d %b %Y",
    ),
)
