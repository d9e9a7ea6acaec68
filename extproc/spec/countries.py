"""Countries, and the groups of them that have a name. ISO 3166-1 alpha-2, as MaxMind's databases write them (XK is theirs)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_CODES: Final = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH
    CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN
    GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI
    LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM
    PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD
    TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""
COUNTRIES: Final = frozenset(_CODES.split())
_EU_CODES: Final = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_EU: Final = tuple(_EU_CODES.split())
GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "EU": _EU,
        "EEA": (*_EU, "IS", "LI", "NO"),
        "DACH": ("AT", "CH", "DE"),
        "BENELUX": ("BE", "LU", "NL"),
        "NORDICS": ("DK", "FI", "IS", "NO", "SE"),
        "NORTH_AMERICA": ("CA", "MX", "US"),
        "G7": ("CA", "DE", "FR", "GB", "IT", "JP", "US"),
        "ANZ": ("AU", "NZ"),
    }
)
"""Members as of 2026. The Spec may name others (`identity.country_groups`); those win."""
