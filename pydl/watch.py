"""What recorded programs depend on besides their arguments: owners, what was read of them, and their versions.

An *owner* holds settings that Python code reads while a program is recorded: a layer, an optimizer, a loss, a metric, a
regularizer, a constraint, a variable, the configuration. While a recording is open, every attribute read of an owner
is noted (`reading`). Afterwards a change of an attribute that some recording has read moves the owner to another
state. States are numbered: one that returns gets its former number, so a program that was recorded for it fits again.
Before a replay a program compares the numbers of its owners with those of its recording (`Dependencies.hold`).

Watched are attributes of instances, and the lists, dicts and sets they hold (copied on assignment into tracked ones,
which notice changes). Not watched, because nobody tells about it: class attributes, globals, attributes of plain
objects, other containers. After a change of such a thing call `rerecord()`, which makes all programs stale.

Threads: books are written under one lock. A value is stored without it, so a recording of another thread may have read
the value before and take the state after for its own. Whoever changes what was read therefore tells the recordings that
are open (`foreign_changes`), and the states of the owner are numbered anew. None is missed, because a recording notes
before it reads, and who changes stores before looking whether it was noted.

Costs: nothing outside of recordings but for a look at the book when an attribute is set. Reads are noted by a
`__getattribute__` that the base class has only while a recording is open.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

__all__ = ["Dependencies", "Owner", "TrackedDict", "TrackedList", "TrackedSet", "Watch", "foreign_changes", "note",
           "reading", "rerecord", "tracked", "watching"]

# Grows with every change of something a recording has read. A program that has compared at this count is up to date.
changes = 0
# Grows when an owner gets or loses a part (another owner, a container), or a container changes: lists of what there is
# can be kept while it stands still.
structure = 0
# Recordings that have begun, of all threads.
recordings = 0
_clock = itertools.count(1)
_numbers = itertools.count(1)
# Of all books. Whoever has it waits for nothing else; a finalizer may come while its thread has it.
_lock = threading.RLock()
_MAX_STATES = 32  # remembered per owner
_MORE_NAMES, _CHANGED = 1, 2  # why the number of a state has to be looked up again
_SHORT = 64  # items up to which the states of a container are told apart by what it holds

# What is read of an owner by looking at all it holds: which layers, variables, metrics there are.
PARTS = "<parts>"


def restructured() -> int:
    """Tells that there are other parts than before; the time of that."""
    global structure
    structure = next(_clock)
    return structure


class Since(dict[Any, int]):
    """When an owner or a container got each of its parts: by name, or by identity. A copy begins without."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Since, ())


class _Identity:
    """Equal to another one while both stand for the same living object."""

    __slots__ = ("get", "number", "__weakref__")

    def __init__(self, value: Any) -> None:
        self.number = id(value)
        try:
            self.get: Callable[[], Any] = weakref.ref(value)
        except TypeError:  # keeps it, so that its id stays its own
            self.get = lambda: value

    def __eq__(self, other: object) -> bool:
        mine = self.get()
        return mine is not None and isinstance(other, _Identity) and mine is other.get()

    def __hash__(self) -> int:
        return self.number


def token(value: Any) -> Any:
    """Something hashable that is equal for two values only if no program can tell them apart.

    Numbers are compared with their type and bits (1, 1.0 and True differ, so do 0.0 and -0.0, NaN is itself), tuples
    item by item, everything else by identity.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return (kind, value)
    if kind is float:
        return (kind, value.hex())
    if kind is complex:
        return (kind, value.real.hex(), value.imag.hex())
    if kind is tuple:
        return (kind, *map(token, value))
    return _Identity(value)


class Watch:
    """The book about one owner: what recordings have read of it, and the number of its present state.

    A copy of an owner starts with an empty book.
    """

    __slots__ = ("names", "tokens", "stale", "numbers", "number", "dirty", "count")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}  # attributes that recordings have read
        self.tokens: dict[str, tuple[Any, ...]] | None = None  # of their values, in order of names; None: to be made
        self.stale: set[str] = set()  # those whose values have changed since
        self.numbers: dict[tuple[Any, ...], int] = {}  # state -> number
        self.number = next(_numbers)  # of the present state, unless it is to be looked up again
        self.dirty = _MORE_NAMES
        self.count = 0  # changes of what is told apart by counting

    def __reduce__(self) -> tuple[Any, ...]:
        return (Watch, ())

    def touch(self, began: int, name: str | None = None, count: int = 0) -> None:
        """Something that was read has changed.

        Args:
            began: `recordings` from before the change.
            name: the attribute.
            count: 1 for a change that is told apart by counting.
        """
        global changes
        with _lock:
            if name is not None:
                self.stale.add(name)
            self.count += count
            self.dirty = _CHANGED
            others = [f for f in _listening if f.thread != threading.get_ident()]
            for listening in others:
                listening.books.add(self)
            if others or recordings != began:
                self.numbers.clear()  # some recording may have taken this state for the one it has seen
            changes = next(_clock)


def version(owner: Any) -> int:
    """The number of the owner's present state: its former one when the state returns."""
    watch: Watch = owner._watch
    if watch.dirty:
        with _lock:
            dirty = watch.dirty
            if dirty:
                state = owner._watched_state(watch)
                if dirty == _MORE_NAMES:  # the same state, told by more names
                    watch.numbers[state] = watch.number
                elif state in watch.numbers:
                    watch.number = watch.numbers[state]
                else:
                    if len(watch.numbers) >= _MAX_STATES:
                        watch.numbers.clear()
                    watch.number = watch.numbers[state] = next(_numbers)
                watch.dirty = 0  # last: who finds it so takes the number without the lock
    return watch.number


# ---- reading -----------------------------------------------------------------------------------------------------


class _Notes(threading.local):
    taken: dict[int, Any] | None = None  # id -> owner, of the recording that is open on this thread


_notes = _Notes()
_open = 0  # recordings that are open on any thread
_listening: list[foreign_changes] = []


_OWN_NAMES = frozenset(("_watch", "_start_watch", "_watched_state"))


def _noted_read(self: Any, name: str) -> Any:
    if _notes.taken is None or name[:2] == "__" or name in _OWN_NAMES:
        return object.__getattribute__(self, name)
    note(self, name)
    value = object.__getattribute__(self, name)
    for container in _containers(value):
        note(container)
    return value


class reading:
    """Context of a recording: afterwards `owners` holds every owner that was read inside, on this thread."""

    def __enter__(self) -> reading:
        global _open
        self._before = _notes.taken
        self._taken: dict[int, Any] = {}
        _notes.taken = self._taken
        with _lock:
            _open += 1
            if _open == 1:
                Owner.__getattribute__ = _noted_read  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        global _open
        with _lock:
            _open -= 1
            if _open == 0:
                del Owner.__getattribute__
        _notes.taken = self._before

    @property
    def owners(self) -> list[Any]:
        return list(self._taken.values())


def watching() -> bool:
    """Whether a recording on this thread notes what is read."""
    return _open > 0 and _notes.taken is not None


def note(owner: Any, name: str | None = None) -> None:
    """Notes that the open recording, if there is one, has read `name` of `owner` (None: its one state)."""
    taken = _notes.taken
    if taken is None:
        return
    taken[id(owner)] = owner
    watch = owner._watch or _begin_watch(owner)
    if name is not None and name not in watch.names:
        with _lock:
            watch.names[name] = None
            watch.tokens = None
            watch.dirty = watch.dirty or _MORE_NAMES


def _begin_watch(owner: Any) -> Watch:
    with _lock:  # one book, whichever threads begin one
        watch: Watch = owner._watch or owner._start_watch()
        return watch


class foreign_changes:
    """Context around a recording and the making of its `Dependencies`: gives the set of the books of owners that other
    threads have changed meanwhile. What was recorded may be of the state before."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.books: set[Watch] = set()

    def __enter__(self) -> set[Watch]:
        global recordings
        with _lock:
            recordings += 1
            _listening.append(self)
        return self.books

    def __exit__(self, *_: object) -> None:
        with _lock:
            _listening.remove(self)


class Dependencies:
    """The owners a program has read and the numbers of their states at that time.

    Args:
        owners: what `reading` has noted. Taken when the recording has ended: what the recorded function itself sets
            (a counter, a cache) is part of the state it leaves behind.
        disturbed: books of owners that other threads have changed during the recording: it holds for no state of
            theirs.
    """

    __slots__ = ("owners", "numbers", "_compared_at")

    def __init__(self, owners: Iterable[Any], disturbed: Container[Watch] = ()) -> None:
        found: dict[int, Any] = {}
        queue = list(owners)
        while queue:  # a tracked container is read together with those inside of it
            owner = queue.pop()
            if id(owner) not in found:
                found[id(owner)] = owner
                if owner._watch is None:
                    _begin_watch(owner)
                if isinstance(owner, _Tracked):
                    queue += [c for value in owner._values() for c in _containers(value)]
        self.owners = tuple(found.values())
        now = changes
        numbers = tuple(map(version, self.owners))
        self.numbers = tuple(None if owner._watch in disturbed else n for owner, n in zip(self.owners, numbers))
        self._compared_at = now if None not in self.numbers else None

    def hold(self) -> bool:
        """Whether all owners are in the states of the recording."""
        now = changes
        if self._compared_at == now:
            return True
        for owner, number in zip(self.owners, self.numbers):
            watch = owner._watch
            if (version(owner) if watch.dirty else watch.number) != number:
                return False
        self._compared_at = now
        return True


# ---- owners ------------------------------------------------------------------------------------------------------


class Owner:
    """Base of what holds settings: notices when an attribute that a recording has read gets another value."""

    _watch: Watch | None = None

    def _start_watch(self) -> Watch:
        watch = Watch()
        object.__setattr__(self, "_watch", watch)
        return watch

    def _watched_state(self, watch: Watch) -> tuple[Any, ...]:
        held = object.__getattribute__(self, "__dict__")
        tokens = watch.tokens
        if tokens is None:
            watch.tokens = tokens = dict.fromkeys(sorted(watch.names), ())
            watch.stale.update(tokens)
        while watch.stale:
            name = watch.stale.pop()
            value = held.get(name, Watch)
            tokens[name] = (name, token(value)) if value is not Watch else (name,)
        state = tuple(tokens.values())
        return (*state, watch.count) if PARTS in watch.names else state

    def __setattr__(self, name: str, value: Any) -> None:
        value = tracked(value)
        held = object.__getattribute__(self, "__dict__")
        old = held.get(name, Watch)
        began = recordings
        object.__setattr__(self, name, value)
        if old is value or name not in held:  # a property: what it sets comes here by itself
            return
        parts = _holds_parts(old) or _holds_parts(value)
        if parts:
            held.setdefault("_since", Since())[name] = restructured()
        watch = held.get("_watch")
        if watch is None:
            return
        seen, counts = name in watch.names, parts and PARTS in watch.names
        if seen or counts:
            watch.touch(began, name if seen else None, counts)

    def __delattr__(self, name: str) -> None:
        began = recordings
        object.__delattr__(self, name)
        restructured()
        watch = object.__getattribute__(self, "__dict__").get("_watch")
        if watch is not None:
            watch.touch(began, name if name in watch.names else None, 1)


_PLAIN = frozenset((bool, int, float, str, type(None)))


def _holds_parts(value: Any) -> bool:
    """Whether an attribute's value is an owner or a container, or a tuple that may hold some."""
    kind = type(value)
    return kind not in _PLAIN and (kind is tuple or hasattr(kind, "_watched_state"))


def _may_hold_parts(value: Any) -> bool:
    """Whether what a container was given is or holds a part, as far as one look tells."""
    if isinstance(value, (list, tuple)):
        return any(_holds_parts(item) or isinstance(item, (list, dict)) for item in value)
    return isinstance(value, (dict, set)) or _holds_parts(value)


def parts_of(owner: Owner) -> dict[str, Any]:
    """A copy of the attributes of an owner; a recording that asks for them depends on which parts (layers, variables,
    metrics, containers) there are, and on the containers among them."""
    if watching():
        note(owner, PARTS)
    held: dict[str, Any] = object.__getattribute__(owner, "__dict__").copy()
    if watching():
        for value in held.values():
            for container in _containers(value):
                note(container)
    return held


# ---- containers --------------------------------------------------------------------------------------------------


class _Tracked:
    """What tracked containers share. Reading one while recording depends on all it holds."""

    __slots__ = ()
    _watch: Watch | None
    _since: Since

    def _start_watch(self) -> Watch:
        watch = self._watch = Watch()  # type: ignore[misc]  # a slot of the subclasses
        return watch

    def _values(self) -> Iterable[Any]:
        """A copy of what it holds, as other threads may change it."""
        raise NotImplementedError

    def _stamp(self, now: int) -> None:
        """Notes `now` for the parts in it of which nothing is noted."""
        before = getattr(self, "_since", {})
        stamps = {id(v): before.get(id(v), now) for v in self._values() if _holds_parts(v)}
        self._since = Since(stamps)  # type: ignore[misc]  # a slot of the subclasses

    def _watched_state(self, watch: Watch) -> tuple[Any, ...]:
        if len(self) > _SHORT:  # type: ignore[arg-type]
            return (watch.count,)
        return tuple(map(token, self._values()))


_Container = TypeVar("_Container")


def _mutator(name: str, base: type) -> Callable[..., Any]:
    plain = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = recordings
        gets_parts = any(map(_may_hold_parts, (*args, *kwargs.values())))
        if gets_parts:
            self._stamp(0)  # what is in it already came with the container
        try:
            return plain(self, *map(tracked, args), **{k: tracked(v) for k, v in kwargs.items()})
        finally:
            now = restructured()
            if gets_parts:
                self._stamp(now)
            watch = getattr(self, "_watch", None)  # absent while a copy is being put together
            if watch is not None:
                watch.touch(began, count=1)

    method.__name__ = name
    method.__doc__ = plain.__doc__
    return method


def _noticing(*names: str) -> Callable[[type[_Container]], type[_Container]]:
    """Class decorator: these methods of the built-in base tell the watch; containers they are given become tracked."""

    def decorate(cls: type[_Container]) -> type[_Container]:
        for name in names:
            setattr(cls, name, _mutator(name, cls.__mro__[2]))
        return cls

    return decorate


@_noticing("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort", "__setitem__", "__delitem__",
           "__iadd__", "__imul__")
class TrackedList(_Tracked, list[Any]):
    """A list held by an owner. Items that are lists, dicts or sets become tracked ones too."""

    __slots__ = ("_since", "_watch", "__weakref__")

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(map(tracked, items))
        self._watch = None
        self._since = Since()

    def _values(self) -> Iterable[Any]:
        return self[:]


@_noticing("clear", "pop", "popitem", "setdefault", "update", "__setitem__", "__delitem__", "__ior__")
class TrackedDict(_Tracked, dict[Any, Any]):
    """A dict held by an owner. Values that are lists, dicts or sets become tracked ones too."""

    __slots__ = ("_since", "_watch", "__weakref__")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__({key: tracked(value) for key, value in dict(*args, **kwargs).items()})
        self._watch = None
        self._since = Since()

    def _values(self) -> Iterable[Any]:
        return itertools.chain(*self.copy().items())


@_noticing("add", "clear", "discard", "pop", "remove", "update", "difference_update", "intersection_update",
           "symmetric_difference_update", "__ior__", "__iand__", "__isub__", "__ixor__")
class TrackedSet(_Tracked, set[Any]):
    """A set held by an owner."""

    __slots__ = ("_since", "_watch")  # a set can be referred to weakly by itself
    __hash__ = None

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._watch = None
        self._since = Since()

    def _values(self) -> Iterable[Any]:
        return frozenset(self)

    def _watched_state(self, watch: Watch) -> tuple[Any, ...]:
        return (frozenset(map(token, self._values())),) if len(self) <= _SHORT else (watch.count,)


_TRACKED_AS: dict[type, type] = {list: TrackedList, dict: TrackedDict, set: TrackedSet}


def tracked(value: Any) -> Any:
    """A list, dict or set as a tracked copy, likewise inside a tuple; everything else, and what is tracked already, as
    it is."""
    kind = type(value)
    if kind in _TRACKED_AS:
        try:
            return _TRACKED_AS[kind](value)
        except RecursionError:
            raise ValueError(f"a {kind.__name__} that holds itself cannot be copied: assign it to the attribute first,"
                             " then add it to itself there.") from None
    if kind is tuple:
        items = tuple(map(tracked, value))
        if any(a is not b for a, b in zip(items, value)):
            return items
    return value


def _containers(value: Any) -> Iterable[_Tracked]:
    """The tracked containers that an attribute's value is, or that a tuple of them holds."""
    if isinstance(value, _Tracked):
        return (value,)
    if type(value) is tuple:
        return [container for item in value for container in _containers(item)]
    return ()


class _Epoch:
    """What `rerecord` changes: every program depends on it."""

    def __init__(self) -> None:
        self._watch = Watch()

    def _watched_state(self, watch: Watch) -> tuple[int]:
        return (watch.count,)


EPOCH = _Epoch()


def rerecord() -> None:
    """Makes every recorded program stale, so that the next call records anew: the one call for changes that are not
    watched (globals, class attributes, attributes of plain objects of yours)."""
    EPOCH._watch.touch(recordings, count=1)
