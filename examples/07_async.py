"""Many programs on one event loop, the model in its own process. python examples/07_async.py"""

from __future__ import annotations

import asyncio
import sys

from sestina import AsyncEngine, State, assistant, function, gen, select, user

TOWNS = ["Lima", "Oslo", "Nairobi", "Quito", "Hanoi", "Turin"]


async def look_up(town: str) -> str:
    """A tool: while it waits, the program's prefix stays cached and others run."""
    await asyncio.sleep(0.01)
    return f"{town} has {len(town) * 100_000} people."


@function
async def report(s: State, town: str) -> None:
    s += user(f"Is {town} large?") + assistant(select("large", ["yes", "no"]))
    s += user(f"{await look_up(town)} Write one line.")
    s += assistant(gen("line", max_tokens=24, stop="\n"))
    print(f"{town:8} {await s.aget('large'):4} {await s.aget('line')!r}")


async def reports(model: str) -> None:
    # At most four programs are open at once; the others wait for their turn.
    async with AsyncEngine(model, process=True, max_open=4, seed=1, trace=10_000) as engine:
        states = await asyncio.gather(
            *(report.arun(town, backend=engine, temperature=0) for town in TOWNS)
        )

        # Pieces arrive while the program runs; cancelling a task would end its program.
        state = await report.astream("Cuzco", backend=engine, temperature=0)
        print("".join([piece async for piece in state.text_async_iter("line")]))

        stats, usage = await engine.stats(), states[0].usage
        print(f"{stats.rows_per_pass:.1f} rows a pass, {stats.cache_hit_rate:.0%} from the cache;")
        print(f"{TOWNS[0]}: {usage.cached} cached, {usage.forward_passes} passes")
        trace = await engine.trace()
        print(f"{len(trace.spans)} spans; trace.save(path) writes them for ui.perfetto.dev")


def main(model: str = "smollm2-135m-instruct") -> None:
    asyncio.run(reports(model))


if __name__ == "__main__":
    main(*sys.argv[1:])
