"""What an engine tells about itself: stats, usage, traces."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support.engines import scripted_engine

from sestina import Engine, InvalidParams, State, function, gen, select


@function
def chatter(s: State) -> None:
    s += "Once upon a time"
    s += gen("x", max_tokens=6, ignore_eos=True) + select("y", ["yes", "no"])
    forks = s.fork(2)
    for fork in forks:
        fork += gen("z", max_tokens=3, ignore_eos=True)
    forks.join()


@pytest.fixture(scope="module")
def traced() -> Any:
    with scripted_engine(trace=10_000) as engine:
        state = chatter.run(backend=engine)
        state.sync()
        usage = state.usage
        yield engine, engine.stats(), usage, engine.trace()


def test_the_stats_add_up(traced: Any) -> None:
    _, stats, usage, _ = traced
    assert stats.free_slots + stats.cached_slots + stats.held_slots == stats.total_slots
    assert stats.forward_passes <= stats.batch_rows <= stats.batch_tokens
    assert stats.batch_tokens >= stats.prefilled + stats.sampled - usage.forward_passes
    assert 0 < stats.forward_s <= stats.seconds
    assert stats.num_running == stats.num_waiting == 0
    assert (stats.sampled, stats.drafted, stats.accepted) == (6 + 3 + 3, 0, 0)
    assert 0 <= stats.cache_hit_rate <= 1
    assert 0 < stats.pool_use < 1
    assert stats.rows_per_pass >= 1


def test_the_usage_of_a_program_is_the_engines_when_it_ran_alone(traced: Any) -> None:
    _, stats, usage, _ = traced
    for name in ("prefilled", "cached", "forced", "sampled", "drafted", "accepted"):
        assert getattr(usage, name) == getattr(stats, name), name
    assert usage.forward_passes >= stats.forward_passes
    assert usage.queued_s >= 0


def test_num_programs_counts_those_that_are_open() -> None:
    with scripted_engine() as engine:
        assert engine.stats().num_programs == 0
        state = function(lambda s: None).run(backend=engine)
        assert engine.stats().num_programs == 1
        state.close()
        assert engine.stats().num_programs == 0


def test_a_trace_has_every_step_batch_and_op(traced: Any) -> None:
    _, stats, _, trace = traced
    by_track: dict[str, list[Any]] = {}
    for span in trace.spans:
        assert span.start_s <= span.end_s
        by_track.setdefault(span.track, []).append(span)
    steps, batches = by_track.pop("steps"), by_track.pop("batches")
    assert len(batches) == stats.forward_passes
    assert sum(b.args["tokens"] for b in batches) == stats.batch_tokens
    assert len(steps) >= len(batches)
    for batch in batches:  # each inside a step
        assert any(s.start_s <= batch.start_s and batch.end_s <= s.end_s for s in steps)
    assert sorted(by_track) == ["program 0/0", "program 0/0.0", "program 0/0.1"]
    ops = [span.name for span in by_track["program 0/0"]]
    assert ops == ["text", "gen 'x'", "select 'y'", "fork", "join", "release"]
    assert by_track["program 0/0"][1].args["sampled"] == 6
    for spans in by_track.values():  # one at a time on each branch
        assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(spans))


def test_a_failed_op_is_in_the_trace() -> None:
    with scripted_engine(trace=100) as engine:
        function(lambda s: s.append(gen("x", max_tokens=2))).run(backend=engine).sync()
        failed = [s for s in engine.trace().spans if "error" in s.args]
    assert failed[0].name == "gen 'x'"
    assert "the text is empty" in failed[0].args["error"]


def test_a_saved_trace_is_what_chrome_reads(traced: Any, tmp_path: Path) -> None:
    """The fields that the format demands of each phase."""
    _, _, _, trace = traced
    data = json.loads(trace.save(tmp_path / "trace.json").read_text(encoding="utf-8"))
    required = {"X": {"ts", "dur", "tid", "cat"}, "C": {"ts", "args"}, "M": {"args", "tid"}}
    assert {e["ph"] for e in data["traceEvents"]} == set(required)
    for event in data["traceEvents"]:
        assert {"name", "pid", *required[event["ph"]]} <= set(event)
        assert event.get("dur", 0) >= 0
    names = {e["args"]["name"] for e in data["traceEvents"] if e["ph"] == "M"}
    assert {"engine", "programs", "steps", "batches", "program 0/0.1"} <= names


def test_the_ring_keeps_the_latest() -> None:
    with scripted_engine(trace=10) as engine:
        chatter.run(backend=engine).sync()
        trace = engine.trace()
    assert len(trace.spans) == 10
    assert trace.num_dropped > 10
    assert trace.to_chrome()["otherData"]["num_dropped"] == trace.num_dropped


def test_without_a_trace_there_is_nothing_to_show_and_nothing_recorded() -> None:
    with scripted_engine() as engine:
        assert engine._local.tracer is None
        with pytest.raises(InvalidParams, match="trace="):
            engine.trace()


def test_the_prefix_cache_as_text_and_as_data() -> None:
    with scripted_engine() as engine:
        chatter.run(backend=engine).sync()
        text, data = engine.cache_text(), json.loads(json.dumps(engine.cache_data()))
        stats = engine.stats()
        engine.flush_cache()
        assert [n["parent"] for n in json.loads(json.dumps(engine.cache_data()))["nodes"]] == []
    assert text.splitlines()[0].startswith(f"{stats.cached_slots} slots")
    assert "Once upon a ti" in text  # the rest was healed
    nodes = data["nodes"]
    assert data["cached"] == stats.cached_slots == sum(len(n["tokens"]) for n in nodes)
    assert all(n["parent"] is None or n["parent"] < n["id"] for n in nodes)
    assert len(text.splitlines()) == 1 + len(nodes)
    assert sum(n["text"].startswith("Once upon a ti") for n in nodes) == 1


def test_an_engine_can_be_opened_by_the_names_of_the_toys() -> None:
    for name in ("tiny-random", "scripted"):
        with Engine(name, max_total_tokens=256) as engine:
            assert engine.generate("Q: ", max_tokens=2, ignore_eos=True).meta.sampled == 2
