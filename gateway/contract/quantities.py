"""What is measured: each quantity has one unit and one plausible range, in this one table.

The plausible range is what an instrument for pool water can report at all, not a limit of any standard:
a reading outside it is kept and flagged by quality control, never refused.
"""

from dataclasses import dataclass
from enum import StrEnum


class Quantity(StrEnum):
    """Name of a quantity on the wire; the unit is part of the name."""

    FREE_CHLORINE_MG_L = "free_chlorine_mg_l"
    PH = "ph"
    WATER_TEMP_C = "water_temp_c"
    COMBINED_CHLORINE_MG_L = "combined_chlorine_mg_l"
    TURBIDITY_NTU = "turbidity_ntu"
    ORP_MV = "orp_mv"
    CYANURIC_ACID_MG_L = "cyanuric_acid_mg_l"
    UREA_MG_L = "urea_mg_l"
    CONDUCTIVITY_US_CM = "conductivity_us_cm"
    FLOW_M3_H = "flow_m3_h"
    MAKEUP_M3 = "makeup_m3"
    BATHERS = "bathers"


@dataclass(frozen=True, slots=True)
class QuantitySpec:
    """Unit, plausible range (ends included) and the digits that instruments usually resolve."""

    unit: str
    low: float
    high: float
    digits: int
    name_zh: str
    name_en: str


#: The one table. Order is the order of display: the three that order no. 17 names come first.
SPECS: dict[Quantity, QuantitySpec] = {
    Quantity.FREE_CHLORINE_MG_L: QuantitySpec("mg/L", 0.0, 20.0, 2, "游离性余氯", "Free chlorine"),
    Quantity.PH: QuantitySpec("", 0.0, 14.0, 2, "pH 值", "pH"),
    Quantity.WATER_TEMP_C: QuantitySpec("°C", -5.0, 60.0, 1, "水温", "Water temperature"),
    Quantity.COMBINED_CHLORINE_MG_L: QuantitySpec("mg/L", 0.0, 20.0, 2, "化合性余氯", "Combined chlorine"),
    Quantity.TURBIDITY_NTU: QuantitySpec("NTU", 0.0, 100.0, 2, "浑浊度", "Turbidity"),
    Quantity.ORP_MV: QuantitySpec("mV", -1000.0, 1200.0, 0, "氧化还原电位", "ORP"),
    Quantity.CYANURIC_ACID_MG_L: QuantitySpec("mg/L", 0.0, 500.0, 0, "氰尿酸", "Cyanuric acid"),
    Quantity.UREA_MG_L: QuantitySpec("mg/L", 0.0, 50.0, 2, "尿素", "Urea"),
    Quantity.CONDUCTIVITY_US_CM: QuantitySpec("µS/cm", 0.0, 100_000.0, 0, "电导率", "Conductivity"),
    Quantity.FLOW_M3_H: QuantitySpec("m³/h", 0.0, 5_000.0, 1, "循环流量", "Circulation flow"),
    Quantity.MAKEUP_M3: QuantitySpec("m³", 0.0, 10_000.0, 1, "补水量", "Make-up water"),
    Quantity.BATHERS: QuantitySpec("", 0.0, 20_000.0, 0, "在场人数", "Bathers"),
}

#: The quantities that Art. 15(2) of Changzhou order no. 17 names.
ORDER_17_QUANTITIES = (Quantity.FREE_CHLORINE_MG_L, Quantity.PH, Quantity.WATER_TEMP_C)
