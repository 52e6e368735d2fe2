"""Profiles written for a test: a head, and tables whose keys can be changed one by one."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from analytics.errors import ProfileError
from analytics.standards.profile import read_profile

HEAD = """
schema = 1
name = "own"
title_zh = "自定"
title_en = "own"
notice = false
grid_step_s = 60
{more}
[confirmation]
confirm_s = 300
clear_s = 300
"""
Write = Callable[..., Path]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def limit_table(limit_id: str, **keys: str) -> str:
    rows = {
        "id": f'"{limit_id}"',
        "quantity": '"ph"',
        "low": "7.0",
        "low_closed": "true",
        "high": "7.8",
        "high_closed": "true",
        "unit": '""',
        "standard": '"S"',
        "edition": '"E"',
        "clause": '"C"',
        "clause_status": '"ours"',
        "source": '"us"',
        "binding": "true",
        "tier": '"operating"',
        "consequence": '"none"',
    } | keys
    return "[[limits]]\n" + "\n".join(f"{key} = {value}" for key, value in rows.items()) + "\n"


def duty_table(kind: str = "daily_test", **keys: str) -> str:
    rows = {
        "duty": f'"{kind}"',
        "quantities": '["ph"]',
        "interval_s": "3600",
        "grace_s": "0",
        "served_by": '["manual"]',
        "standard": '"S"',
        "edition": '"E"',
        "clause": '"C"',
        "clause_status": '"ours"',
        "source": '"us"',
        "consequence": '"none"',
    } | keys
    return "[[duties]]\n" + "\n".join(f"{key} = {value}" for key, value in rows.items()) + "\n"


def writer(folder: Path) -> Write:
    """Write a profile of some tables into a folder."""

    def write_profile(*tables: str, name: str = "own.toml", more: str = "") -> Path:
        path = folder / name
        path.write_text(HEAD.format(more=more) + "\n".join(tables), encoding="utf-8")
        return path

    return write_profile


def mistakes_of(path: Path) -> str:
    """What is said of a file that cannot be used."""
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    return str(caught.value)
