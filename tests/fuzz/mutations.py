"""Mutations of real inputs: of their bytes, and of the values that they are texts of. All chance comes from one generator."""

from __future__ import annotations

import copy
import io
import json
import random
import warnings
import zipfile
from typing import Any

TOKENS = [
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\",
        b",",
        b":",
        b"\n",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\t",
    ),
    *(b"null", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 5000, b"9" * 300, b"0x10", b"1_000", b"true", b"''"),
    *(
        b"&a [*a]",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!int x",
        b"!!python/name:os.system",
        b"? ",
        b"- ",
        b"---\n",
        b"${x}",
        b"${run_name}",
    ),
    *(
        b"../",
        b"/etc/passwd",
        b"\x1b[2J",
        b"%s",
        b"$(id)",
        b"[" * 3000,
        b'{"a":' * 2000,
        b"a" * 3000,
        b"  ",
        b"=",
        b"#",
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        31,
        2**31,
        2**53,
        2**63,
        -(2**63),
        10**30,
        0.5,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "x" * 3000, "\ud800", "\0", "../x", "${x}", "1e999", "nan", "9" * 400, "2026-01-31T12:00:00Z"),
    *([], {}, [[]], [None], {"": None}, {"x": {"x": {}}}, [[[[[[[[]]]]]]]], [0] * 50, ["x"] * 50),
]


def mutate_bytes(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled, put in, or taken from another input."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        until = min(len(found), at + rng.choice((1, 2, 8, 64, 1024)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at:until]
        elif kind == 2:
            found[at:at] = found[at:until] * rng.choice((1, 1, 2, 30))
        elif kind == 3:
            found[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            found[at:until] = rng.randbytes(until - at)
        elif kind == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            found[at:until] = other[start : start + rng.choice((1, 8, 64, 1024))]
        else:
            del found[at:]
    return bytes(found)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """A value of JSON with some of what is in it replaced, taken out, doubled or called otherwise."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        places: list[tuple[Any, Any]] = []
        _places(value, places)
        if not places:
            return copy.deepcopy(rng.choice(VALUES))
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            other, where = rng.choice(places)
            if (isinstance(where, int) and where >= len(other)) or (isinstance(where, str) and where not in other):
                continue
            holder[key] = json.loads(json.dumps(other[where]))
        elif isinstance(holder, dict):
            holder[rng.choice(("", "x", "x" * 300, key.upper(), f"{key}.x"))] = holder.pop(key)
        else:
            holder.extend([holder[key]] * rng.choice((1, 2, 40)))
    return value


def _places(value: Any, places: list[tuple[Any, Any]], limit: int = 2000) -> None:
    if len(places) >= limit:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        places.append((value, key))
        _places(inner, places, limit)


def mutate_json(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A JSON text whose value, or whose bytes, are mutated."""
    if rng.random() < 0.4:
        return mutate_bytes(data, others, rng)
    text = json.dumps(mutate_value(json.loads(data), rng), ensure_ascii=rng.random() < 0.5)
    return text.encode(errors="surrogatepass")


def mutate_yaml(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A YAML text, in the same way."""
    import yaml

    if rng.random() < 0.5:
        return mutate_bytes(data, others, rng)
    value = mutate_value(yaml.safe_load(data), rng)
    try:
        return yaml.safe_dump(value, allow_unicode=rng.random() < 0.5).encode(errors="surrogatepass")
    except (yaml.YAMLError, RecursionError):
        return mutate_bytes(data, others, rng)


def mutate_lines(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """JSON lines: some of them mutated as values, others as bytes."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(lines))
        try:
            lines[at] = json.dumps(mutate_value(json.loads(lines[at]), rng)).encode(errors="surrogatepass")
        except ValueError:
            lines[at] = mutate_bytes(lines[at], others, rng)
    joined = b"\n".join(lines)
    return mutate_bytes(joined, others, rng) if rng.random() < 0.3 else joined


def mutate_checkpoint(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A zip of stored members: its description mutated, or its own bytes near its end, where its list of members is."""
    if rng.random() < 0.4:
        at = rng.choice((0, max(0, len(data) - 3000)))
        return data[:at] + mutate_bytes(data[at : at + 3000], others, rng) + data[at + 3000 :]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        warnings.simplefilter("ignore")
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = mutate_bytes(content, [content], rng)
            way = zipfile.ZIP_STORED if rng.random() < 0.97 else zipfile.ZIP_DEFLATED
            target.writestr(zipfile.ZipInfo(entry.filename), content, way)
    return buffer.getvalue()


def mutate_safetensors(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A safetensors file: its header mutated, or its bytes."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        return mutate_bytes(data[: length + 64], others, rng)
    header = mutate_json(data[8 : 8 + length], others, rng)
    size = len(header) if rng.random() < 0.9 else rng.choice((0, 1, 1 << 20, 1 << 40, 2**64 - 1))
    return size.to_bytes(8, "little") + header + data[8 + length :]
