"""What an engine tells about itself: counters, books and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since the engine started (flush_cache does not reset them), and the books now.

    Tokens. prefilled: text tokens computed; cached: taken from the KV cache instead; healed: taken
    back from the end of a text and drawn anew; forced: appended because a grammar allowed nothing
    else; sampled: drawn; drafted: proposed by speculation; accepted: of these, confirmed by the
    model (and counted as sampled). Ops count once they have finished.

    Work. forward_passes: batches run, of batch_rows sequences and batch_tokens tokens in all.
    num_preempted: sequences sent back to the queue because memory was short; num_evicted: tokens
    dropped from the cache. num_programs / num_running / num_waiting: programs that are open,
    sequences in the batch, sequences in the queue, now.

    Seconds of the engine's thread. seconds: in scheduler steps; forward_s: of these, in the model;
    command_s: taking up ops and running what needs no model; idle_s: with nothing to do.

    Slots of the KV pool, now: free + cached_slots + held == total.
    """

    prefilled: int
    cached: int
    healed: int
    forced: int
    sampled: int
    drafted: int
    accepted: int
    forward_passes: int
    batch_rows: int
    batch_tokens: int
    num_programs: int
    num_running: int
    num_waiting: int
    num_preempted: int
    num_evicted: int
    seconds: float
    forward_s: float
    command_s: float
    idle_s: float
    free_slots: int
    cached_slots: int
    held_slots: int
    total_slots: int

    @property
    def cache_hit_rate(self) -> float:
        """Of the text tokens that had to be in the KV cache, the share that already was."""
        wanted = self.prefilled + self.cached
        return self.cached / wanted if wanted else 0.0

    @property
    def pool_use(self) -> float:
        """The share of the KV pool that running sequences own or the cache holds."""
        return 1.0 - self.free_slots / self.total_slots

    @property
    def rows_per_pass(self) -> float:
        """Sequences per forward pass, on average."""
        return self.batch_rows / self.forward_passes if self.forward_passes else 0.0
