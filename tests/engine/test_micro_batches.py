"""A micro-batch that was halved is reported, with what it costs."""

from helpers.training import random_batch
from vitrun.engine.loop import Step
from vitrun.engine.micro_batches import MicroBatchMonitor


def test_running_out_of_memory_is_reported_with_the_seconds_of_a_step_before_and_after():
    lines = []
    monitor = MicroBatchMonitor(lines.append, 8)
    for number, (micro_batch, seconds) in enumerate([(8, 1.0), (4, 5.0), (2, 5.0), (2, 3.0), (2, 3.0)], 1):
        monitor.record_step(Step(number, 0.0, 0.0, 0.0, 0.0, seconds, random_batch(8).list_names, [], micro_batch))
    assert lines == [
        "Out of memory with 8 images at once: 4 from step 2 on",
        "Out of memory with 4 images at once: 2 from step 3 on",
        "micro-batch 2: a step takes 3 s, before 1 s",
    ]
