"""Places for the boxes of a directed graph: layers from top to bottom, short edges, few crossings.

The steps are those of Sugiyama, Tagawa and Toda (1981): ranks, dummy boxes on long edges, an order within each rank by
the medians of the neighbours, then coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

GAP = 24.0  # between boxes of one rank
RANK_GAP = 34.0  # between ranks


class _Slot:
    """A box, or the place where a long edge passes a rank."""

    __slots__ = ("key", "width", "height", "above", "below", "rank", "x")

    def __init__(self, key, width, height, rank):
        self.key, self.width, self.height, self.rank = key, width, height, rank
        self.above: list[_Slot] = []
        self.below: list[_Slot] = []
        self.x = 0.0


class Layout(NamedTuple):
    """Where things are, y downwards.

    Attributes:
        centres: key -> (x, y) of its box.
        bends: (from, to) -> points between the boxes, first to last: two for each rank the edge passes.
        ranks: key -> number of its rank.
        gaps: (top, bottom) of the empty strip below each rank but the last.
        turned: edges that run upwards, because they close a cycle.
        width, height: of the whole.
    """

    centres: dict
    bends: dict
    ranks: dict
    gaps: list
    turned: set
    width: float
    height: float


def layered(sizes: dict, edges) -> Layout:
    """Lays a graph out.

    Args:
        sizes: key -> (width, height) of its box.
        edges: pairs (from, to) of keys; repeated ones count once, those from a box to itself are left to the caller.
            A cycle is broken by turning an edge round.
    """
    edges = list(dict.fromkeys((a, b) for a, b in edges if a != b))
    turned = _back_edges(list(sizes), edges)
    forward = [(b, a) if (a, b) in turned else (a, b) for a, b in edges]
    ranks = _ranks(list(sizes), forward)
    rows, chains = _rows(sizes, forward, ranks)
    _order(rows)
    _place(rows)
    left = min((s.x - s.width / 2 for row in rows for s in row), default=0)
    tops, top = [], 0.0
    for row in rows:
        height = max(s.height for s in row)
        tops.append(top + height / 2)
        top += height + RANK_GAP
    heights = [max(s.height for s in row) for row in rows]
    centres = {s.key: (s.x - left, tops[s.rank]) for row in rows for s in row if s.key is not None}
    bends = {}
    for edge, chain in zip(edges, chains):
        points = []
        for slot in chain:  # past the whole rank, so that no bend lies beside a tall box
            for y in (tops[slot.rank] - heights[slot.rank] / 2, tops[slot.rank] + heights[slot.rank] / 2):
                points.append((slot.x - left, y))
        bends[edge] = points[::-1] if edge in turned else points
    width = max((s.x - left + s.width / 2 for row in rows for s in row), default=0)
    gaps = [(y + h / 2, y + h / 2 + RANK_GAP) for y, h in zip(tops, heights)][:-1]
    return Layout(centres, bends, ranks, gaps, turned, width, max(top - RANK_GAP, 0))


def _back_edges(keys, edges) -> set:
    """Edges that close a cycle in a depth-first walk."""
    following: dict = {key: [] for key in keys}
    for a, b in edges:
        following[a].append(b)
    state: dict = {}
    found = set()
    for start in keys:
        stack = [(start, iter(following[start]))] if start not in state else []
        state.setdefault(start, 1)
        while stack:
            key, rest = stack[-1]
            nxt = next(rest, None)
            if nxt is None:
                state[key] = 2
                stack.pop()
            elif state.get(nxt) == 1:
                found.add((key, nxt))
            elif nxt not in state:
                state[nxt] = 1
                stack.append((nxt, iter(following[nxt])))
    return found


def _ranks(keys, edges) -> dict:
    """The longest way from a source; then sources (inputs used late) sink to just above what reads them."""
    sources: dict = {key: [] for key in keys}
    following: dict = {key: [] for key in keys}
    for a, b in edges:
        sources[b].append(a)
        following[a].append(b)
    missing = {key: len(sources[key]) for key in keys}
    ready = [key for key in keys if not missing[key]]
    order = []
    while ready:
        key = ready.pop(0)
        order.append(key)
        for b in following[key]:
            missing[b] -= 1
            if not missing[b]:
                ready.append(b)
    ranks: dict = {}
    for key in order:
        ranks[key] = max((ranks[a] + 1 for a in sources[key]), default=0)
    for key in reversed(order):
        if following[key] and len(sources[key]) <= len(following[key]):  # moving down shortens more than it lengthens
            ranks[key] = max(ranks[key], min(ranks[b] for b in following[key]) - 1)
    return ranks


def _rows(sizes, edges, ranks):
    slots = {key: _Slot(key, *size, ranks[key]) for key, size in sizes.items()}
    rows: list[list[_Slot]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for slot in slots.values():
        rows[slot.rank].append(slot)
    chains = []
    for a, b in edges:
        chain, last = [], slots[a]
        for rank in range(ranks[a] + 1, ranks[b]):
            dummy = _Slot(None, 10.0, 0.0, rank)
            rows[rank].append(dummy)
            last.below.append(dummy)
            dummy.above.append(last)
            chain.append(dummy)
            last = dummy
        last.below.append(slots[b])
        slots[b].above.append(last)
        chains.append(chain)
    return [row for row in rows if row], chains


def _order(rows, sweeps: int = 8) -> None:
    """Sorts each rank by the mean place of the neighbours, down and up, and keeps the best order seen."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(sweeps):
        if not fewest:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            neighbours = "above" if down else "below"
            place = {id(s): i for other in rows for i, s in enumerate(other)}
            now = {id(s): i for i, s in enumerate(row)}
            row.sort(key=lambda s, now=now, place=place, at=neighbours: _mean([place[id(n)] for n in getattr(s, at)],
                                                                              now[id(s)]))
            _swap_neighbours(row, place, neighbours)
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for row, order in zip(rows, best):
        row[:] = order


def _mean(values, otherwise):
    return sum(values) / len(values) if values else otherwise


def _swap_neighbours(row, place, neighbours) -> None:
    """Exchanges two boxes side by side wherever that saves crossings."""
    for i in range(len(row) - 1):
        left, right = ([place[id(n)] for n in getattr(s, neighbours)] for s in row[i:i + 2])
        if sum(a > b for a in left for b in right) > sum(a < b for a in left for b in right):
            row[i], row[i + 1] = row[i + 1], row[i]


def _crossings(rows) -> int:
    total = 0
    for upper, lower in zip(rows, rows[1:]):
        place = {id(s): i for i, s in enumerate(lower)}
        ends = [sorted(place[id(n)] for n in s.below) for s in upper]
        seen: list[int] = []
        for targets in ends:
            total += sum(a > b for a in seen for b in targets)
            seen += targets
    return total


def _place(rows, sweeps: int = 12) -> None:
    """Coordinates across: every box as near to the middle of its neighbours as the boxes beside it allow."""
    for row in rows:
        x = 0.0
        for slot in row:
            slot.x = x + slot.width / 2
            x += slot.width + GAP
        for slot in row:
            slot.x -= (x - GAP) / 2
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            wanted, weights = [], []
            for slot in row:
                near = slot.above if down else slot.below
                near = near or slot.above or slot.below
                wanted.append(_median([n.x for n in near]) if near else slot.x)
                straight = slot.key is None and any(n.key is None for n in near)  # long edges run straight
                weights.append(8.0 if straight else 1.0)
            _settle(row, wanted, weights)


def _median(values) -> float:
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _settle(row, wanted, weights) -> None:
    """The least squares answer to `wanted` under the distances that boxes need (pool adjacent violators)."""
    offsets = [0.0]
    for a, b in zip(row, row[1:]):
        offsets.append(offsets[-1] + (a.width + b.width) / 2 + GAP)
    blocks: list[list[float]] = []  # [weighted mean of wanted - offset, weight, count]
    for w, offset, weight in zip(wanted, offsets, weights):
        blocks.append([w - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, weight2, count = blocks.pop()
            value1, weight1, count1 = blocks[-1]
            total = weight1 + weight2
            blocks[-1] = [(value1 * weight1 + value * weight2) / total, total, count1 + count]
    index = 0
    for value, _, count in blocks:
        for _ in range(int(count)):
            row[index].x = value + offsets[index]
            index += 1
