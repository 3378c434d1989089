"""Many programs on one event loop: turns, cancellation, errors, streaming, the end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.engines import SIZES, scripted_engine

from sestina import (
    AsyncEngine,
    Cancelled,
    EngineClosed,
    InvalidParams,
    ModelError,
    ProgramError,
    State,
    function,
    gen,
    select,
)
from sestina.backend.loading import LoadedModel
from sestina.backend.models.scripted import ScriptedModel
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang.session import SessionOptions


def async_engine(**options: Any) -> AsyncEngine:
    tokenizer = ByteTokenizer(60)
    model = LoadedModel("scripted", ScriptedModel(vocab_size=tokenizer.vocab_size), tokenizer)
    return AsyncEngine(model, seed=0, check=True, **{**SIZES, **options})


def with_engine(use: Callable[[AsyncEngine], Awaitable[None]], **options: Any) -> None:
    """Run `use` on an engine; afterwards nothing may be open or held."""

    async def run() -> None:
        async with async_engine(**options) as engine:
            await use(engine)
            gc.collect()  # sessions that nobody holds any more
            await asyncio.sleep(0)
            stats = await engine.stats()
            assert (engine.num_open, engine.num_queued) == (0, 0)
            assert (stats.num_running, stats.num_waiting, stats.held_slots) == (0, 0, 0)

    asyncio.run(run())


@function
async def two_turns(s: State, number: int) -> str:
    s += f"Program {number}: " + gen("x", max_tokens=4, ignore_eos=True)
    first: str = await s.aget("x")
    s += " then " + gen("y", max_tokens=3, ignore_eos=True) + select("z", ["a", "b"])
    return first + str(await s.aget("y"))


@function
async def endless(s: State) -> None:
    s += "go" + gen("x", max_tokens=3000, ignore_eos=True)
    await s.aget("x")


def test_programs_give_what_an_engine_gives() -> None:
    @function
    def same(s: State, number: int) -> None:
        s += f"Program {number}: " + gen("x", max_tokens=4, ignore_eos=True)
        _ = s["x"]
        s += " then " + gen("y", max_tokens=3, ignore_eos=True) + select("z", ["a", "b"])

    with scripted_engine() as engine:
        states = [same.run(i, backend=engine, seed=i) for i in range(20)]
        wanted = [(s.text(), s["x"], s["y"], s["z"]) for s in states]

    async def use(engine: AsyncEngine) -> None:
        runs = (two_turns.arun(i, backend=engine, seed=i) for i in range(20))
        states = await asyncio.gather(*runs)
        found = [(s.text(), s["x"], s["y"], s["z"]) for s in states]
        assert found == wanted
        assert [s.ret_value for s in states] == [s["x"] + s["y"] for s in states]

    with_engine(use)


def test_many_need_no_thread_each_and_keep_to_the_bound() -> None:
    async def use(engine: AsyncEngine) -> None:
        threads = threading.active_count()
        tasks = [asyncio.create_task(two_turns.arun(i, backend=engine)) for i in range(40)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            assert engine.num_open <= 7
            assert threading.active_count() <= threads
        assert all(task.result().ret_value for task in tasks)

    with_engine(use, max_open=7)


def test_turns_come_in_order_and_a_cancelled_wait_takes_none() -> None:
    async def use(engine: AsyncEngine) -> None:
        order: list[int] = []

        @function
        async def note(s: State, number: int) -> None:
            order.append(number)
            s += "a" + gen("x", max_tokens=1)

        first = asyncio.create_task(endless.arun(backend=engine))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(note.arun(i, backend=engine)) for i in range(5)]
        await asyncio.sleep(0)
        assert (engine.num_open, engine.num_queued) == (1, 5)
        waiting[0].cancel()
        waiting[3].cancel()
        first.cancel()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert order == [1, 2, 4]
        cancelled = [isinstance(r, asyncio.CancelledError) for r in results]
        assert cancelled == [True, True, False, False, True, False]

    with_engine(use, max_open=1)


def test_cancelling_a_task_that_was_just_given_its_turn_passes_it_on() -> None:
    async def use(engine: AsyncEngine) -> None:
        holder = await engine.aopen(SessionOptions())
        lucky = asyncio.create_task(engine.aopen(SessionOptions()))
        next_one = asyncio.create_task(two_turns.arun(1, backend=engine))
        await asyncio.sleep(0)
        holder.close()
        await asyncio.sleep(0)  # the turn is handed over, and lucky has not run yet
        lucky.cancel()
        assert (await next_one).ret_value
        assert lucky.cancelled()

    with_engine(use, max_open=1)


def test_cancelling_a_task_cancels_its_program() -> None:
    async def use(engine: AsyncEngine) -> None:
        seen: list[State] = []

        @function
        async def forked(s: State) -> None:
            seen.append(s)
            s += "go"
            for fork in s.fork(3):
                fork += gen("x", max_tokens=3000, ignore_eos=True)
            await s.atext()
            await asyncio.Event().wait()

        task = asyncio.create_task(forked.arun(backend=engine))
        while not seen or not (await engine.stats()).num_running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while (await engine.stats()).num_running:
            await asyncio.sleep(0)
        with pytest.raises(ProgramError):
            seen[0] += "more"

    with_engine(use)


def test_a_plain_function_that_waits_is_cancelled_too() -> None:
    async def use(engine: AsyncEngine) -> None:
        ended: list[type] = []

        @function
        def waits(s: State) -> None:
            s += "go" + gen("x", max_tokens=3000, ignore_eos=True)
            try:
                _ = s["x"]
            except ProgramError as error:
                ended.append(type(error.cause))
                raise

        task = asyncio.create_task(waits.arun(backend=engine))
        while not (await engine.stats()).num_running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not ended:
            await asyncio.sleep(0)
        assert ended == [Cancelled]

    with_engine(use)


def test_a_timeout_ends_the_program() -> None:
    async def use(engine: AsyncEngine) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless.arun(backend=engine), timeout=0.05)

    with_engine(use)


def test_an_exception_in_the_body_is_raised_and_harms_nobody() -> None:
    @function
    async def fails(s: State) -> None:
        s += "a" + gen("x", max_tokens=2)
        await s.aget("x")
        s += "b" + gen("y", max_tokens=3000)
        raise RuntimeError("a tool broke")

    async def use(engine: AsyncEngine) -> None:
        runs = [fails.arun(backend=engine), two_turns.arun(1, backend=engine)]
        broken, fine = await asyncio.gather(*runs, return_exceptions=True)
        assert isinstance(broken, RuntimeError)
        assert str(broken) == "a tool broke"
        assert isinstance(fine, State)

    with_engine(use)


def test_programs_inside_programs_take_no_turn() -> None:
    """With one turn each would wait for the other for ever."""

    @function
    async def outer(s: State) -> list[str]:
        inner = await asyncio.gather(*(two_turns.arun(i) for i in range(3)))
        s += "b"
        return [state.ret_value for state in inner]

    @function
    def plain(s: State) -> None:
        s += "a" + gen("x", max_tokens=2)

    @function
    def plain_outer(s: State) -> str:
        return plain.run().text()

    async def use(engine: AsyncEngine) -> None:
        state = await outer.arun(backend=engine)
        assert len(state.ret_value) == 3
        assert (await plain_outer.arun(backend=engine)).ret_value

    with_engine(use, max_open=1)


def test_a_program_has_ended_when_all_its_branches_have() -> None:
    """Its turn ends with it: nobody has to read what was not joined."""

    @function
    async def forks(s: State) -> None:
        s += "go"
        for fork in s.fork(3):
            fork += gen("x", max_tokens=30, ignore_eos=True)

    async def use(engine: AsyncEngine) -> None:
        for _ in range(3):
            state = await forks.arun(backend=engine)
            await asyncio.sleep(0)
            assert engine.num_open == 0
            assert state.usage.sampled == 90

    with_engine(use, max_open=1)


def test_streams_are_read_while_the_body_runs() -> None:
    @function
    def plain(s: State) -> None:
        s += "a" + gen("x", max_tokens=20, ignore_eos=True)
        s += "!" + gen("y", max_tokens=5, ignore_eos=True)

    @function
    async def in_loop(s: State) -> None:
        s += "a" + gen("x", max_tokens=20, ignore_eos=True)
        _ = await s.aget("x")
        s += "!" + gen("y", max_tokens=5, ignore_eos=True)

    async def use(engine: AsyncEngine) -> None:
        for program in (plain, in_loop):
            state = await program.astream(backend=engine, seed=1)
            pieces = [piece async for piece in state.text_async_iter()]
            assert len(pieces) > 5
            assert "".join(pieces) == state.text()
            assert state["x"]
            assert state["y"]

    with_engine(use)


def test_a_stream_that_fails_says_so_at_its_end() -> None:
    @function
    async def fails(s: State) -> None:
        s += "a" + gen("x", max_tokens=3)
        await s.aget("x")
        raise KeyError("a tool broke")

    async def use(engine: AsyncEngine) -> None:
        state = await fails.astream(backend=engine)
        with pytest.raises(ProgramError, match="a tool broke"):
            _ = [piece async for piece in state.text_async_iter()]
        assert isinstance(state.error(), KeyError)

    with_engine(use)


def test_a_stream_that_nobody_reads_to_its_end_gives_its_turn_back() -> None:
    async def use(engine: AsyncEngine) -> None:
        for _ in range(3):
            state = await endless.astream(backend=engine)
            async for _piece in state.text_async_iter("x"):
                break
            state.cancel()
            state.close()
            del state

    with_engine(use, max_open=1)


def test_slow_readers_do_not_stall_the_others() -> None:
    @function
    async def unread(s: State) -> None:
        s += "go" + gen("x", max_tokens=3000, ignore_eos=True)

    async def use(engine: AsyncEngine) -> None:
        slow = [await unread.astream(backend=engine) for _ in range(5)]
        for i in range(5):
            assert (await two_turns.arun(i, backend=engine)).ret_value
        for state in slow:
            state.close()

    with_engine(use, max_open=6, max_unread=16, max_running=4)


def test_completions() -> None:
    async def use(engine: AsyncEngine) -> None:
        threads = threading.active_count()
        one, many = await asyncio.gather(
            engine.generate("hello", max_tokens=3, ignore_eos=True),
            engine.generate([f"hello {i}" for i in range(50)], max_tokens=3, ignore_eos=True),
        )
        assert one.meta.sampled == 3
        assert [c.meta.sampled for c in many] == [3] * 50
        assert threading.active_count() <= threads
        assert (await engine.flush_cache()) > 0
        assert (await engine.trace()).spans

    with_engine(use, max_open=4, trace=100)


def test_closing_ends_what_runs_and_what_waits() -> None:
    async def run() -> None:
        engine = async_engine(max_open=2)
        with pytest.raises(EngineClosed, match="not started"):
            await endless.arun(backend=engine)
        await engine.start()
        tasks = [asyncio.create_task(endless.arun(backend=engine)) for _ in range(5)]
        while not (await engine.stats()).num_running:
            await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            cause = result.cause if isinstance(result, ProgramError) else result
            assert isinstance(cause, EngineClosed)
        with pytest.raises(EngineClosed):
            await two_turns.arun(1, backend=engine)
        assert engine.num_open == 0

    asyncio.run(run())


def test_mistakes_are_refused_at_once() -> None:
    for options in ({"max_open": 0}, {"max_open": True}, {"max_runing": 3}):
        with pytest.raises(InvalidParams):
            AsyncEngine("tiny-random", **options)  # type: ignore[arg-type]

    async def use(engine: AsyncEngine) -> None:
        with pytest.raises(InvalidParams, match="arun"):
            function(lambda s: None).run(backend=engine)

    with_engine(use)

    async def missing() -> None:
        async with AsyncEngine("/no/such/model"):
            pass

    with pytest.raises(ModelError):
        asyncio.run(missing())


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_every_program() -> None:
    async def run() -> None:
        async with AsyncEngine("scripted", process=True, **SIZES) as engine:
            runtime: Any = engine.engine._runtime
            tasks = [asyncio.create_task(endless.arun(backend=engine)) for _ in range(20)]
            while not (await engine.stats()).num_running:
                await asyncio.sleep(0)
            runtime._process.kill()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, ProgramError)
                assert isinstance(result.cause, EngineClosed)
                assert "signal 9" in str(result)

    asyncio.run(run())
