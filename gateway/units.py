"""Units of recordings → the one unit of each quantity."""

from collections.abc import Callable

from gateway.contract.quantities import SPECS, Quantity
from gateway.errors import InputError

#: Unit, spelled plainly: the contract's unit, and value = given * factor + offset.
_CONVERTED: dict[str, tuple[str, float, float]] = {
    "f": ("c", 1 / 1.8, -32 / 1.8),
    "k": ("c", 1.0, -273.15),
    "ppm": ("mg/l", 1.0, 0.0),
    "ug/l": ("mg/l", 1e-3, 0.0),
    "ppb": ("mg/l", 1e-3, 0.0),
    "v": ("mv", 1e3, 0.0),
    "ms/cm": ("us/cm", 1e3, 0.0),
    "l/s": ("m3/h", 3.6, 0.0),
    "l/min": ("m3/h", 0.06, 0.0),
    "l": ("m3", 1e-3, 0.0),
}
#: Names of having no unit, for pH and bathers.
_NO_UNIT = {"", "1", "-", "ph"}
#: Conversion gives no digits that the instrument did not.
_DIGITS = 6


def conversion(unit: str | None, quantity: Quantity) -> Callable[[float], float]:
    """Function from a recorded unit to the quantity's own; None is the quantity's own.

    Raises
    ------
    InputError
        If the unit is unknown, or not one of this quantity.
    """
    own = _plain(SPECS[quantity].unit)
    given = own if unit is None else _plain(unit)
    if given == own or (own == "" and given in _NO_UNIT):
        return lambda value: value
    to, factor, offset = _CONVERTED.get(given, ("", 1.0, 0.0))
    if to != own or own == "":
        usable = [
            SPECS[quantity].unit or "1",
            *(name for name, (unit_to, *_) in _CONVERTED.items() if unit_to == own),
        ]
        raise InputError(f"{unit!r} is no unit of {quantity}; usable: {', '.join(usable)}")
    return lambda value: round(value * factor + offset, _DIGITS)


def _plain(unit: str) -> str:
    text = unit.strip().lower().replace("°", "").replace("³", "3")
    return text.replace("µ", "u").replace("μ", "u")
